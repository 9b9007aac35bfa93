"""Layers that store parameters in one format and compute in another."""

import pytest
import torch
from torch import nn

from spikereach.models.layers import Conv1d


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("by_step", [True, False])
def test_convolutions_in_either_order_of_memory(padding, by_step):
    torch.manual_seed(0)
    layer = Conv1d(4, 6, 3, padding=padding)
    x = torch.randn(3, 20, 4).transpose(1, 2)
    x = x if by_step else x.contiguous()
    torch.testing.assert_close(layer(x), nn.Conv1d.forward(layer, x))
