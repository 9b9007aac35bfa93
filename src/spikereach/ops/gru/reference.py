"""The GRU over time in plain PyTorch."""

import torch

from spikereach.ops.common.fixed_point import stored
from spikereach.ops.common.threads import few_elements


def gru(inputs, cell, hidden, *, buffer_format):
    """As `scan_gru`."""
    states = []
    with few_elements(3 * hidden.numel()):
        for x in inputs:
            hidden = stored(cell(x, hidden), buffer_format)
            states.append(hidden)
    return torch.stack(states)
