"""Losses and penalties against formulas written in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from spikereach.config import Penalties
from spikereach.models.decoder import Decoder
from spikereach.ops.common.record import Record
from spikereach.training.losses import mse, penalty, rmse, weight_matrices
from training_cases import CHANNELS, TinyGRU


@pytest.fixture
def counts_record():
    """Spikes of two layers in 30 steps, batch 4: busy, silent and ordinary units."""
    random = np.random.default_rng(0)
    first = (random.random((30, 4, 5)) < [0.9, 0.9, 0.0, 0.5, 0.02]).astype(np.float32)
    second = (random.random((30, 4, 3)) < 0.6).astype(np.float32)
    return first, second, Record(spikes={"a": torch.tensor(first), "b": torch.tensor(second)})


def test_mse_and_rmse():
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 7, 3, 2))
    expected = np.mean((a - b) ** 2)
    assert mse(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(expected)
    assert rmse(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(np.sqrt(expected))


def test_spike_penalties(counts_record):
    first, second, record = counts_record
    decoder = TinyGRU(channels=CHANNELS)

    def of(**weights):
        return penalty(decoder, record, Penalties(**weights)).item()

    per_step = sum(layer.sum() / (30 * 4) for layer in (first, second))
    assert of(spike_sum=0.5) == pytest.approx(0.5 * per_step, rel=1e-6)

    floor = sum(np.mean(np.maximum(1e-3 - layer.sum(0), 0) ** 2) for layer in (first, second))
    assert floor > 0  # the silent unit
    assert of(spike_floor=100) == pytest.approx(100 * floor, rel=1e-5)

    ceiling = sum(
        np.mean(np.maximum(layer.sum(0).mean(1) - 10, 0) ** 2) for layer in (first, second)
    )
    assert ceiling > 0
    assert of(spike_ceiling=0.01) == pytest.approx(0.01 * ceiling, rel=1e-5)
    assert of(spike_sum=1, spike_floor=1, spike_ceiling=1) == pytest.approx(
        per_step + floor + ceiling, rel=1e-5
    )
    assert of() == 0


def test_gradients_reach_the_spikes(counts_record):
    *_, record = counts_record
    spikes = record.spikes["a"].requires_grad_()
    penalty(TinyGRU(channels=CHANNELS), record, Penalties(spike_sum=2.0)).backward()
    assert torch.allclose(spikes.grad, torch.full_like(spikes, 2.0 / (30 * 4)))


def test_weight_penalty_is_the_sum_over_connection_layers():
    decoder = TinyGRU(channels=CHANNELS)
    names = {"cell.weight_ih", "cell.weight_hh", "readout.weight"}
    assert weight_matrices(decoder).keys() == names  # no bias, no layer norm
    parameters = dict(decoder.named_parameters())
    expected = sum(np.abs(parameters[name].detach().numpy()).sum() for name in names)
    found = penalty(decoder, Record(), Penalties(weight_l1=0.25))
    assert found.item() == pytest.approx(0.25 * expected, rel=1e-5)


def test_layer_norms_of_two_axes_and_bare_decoders_are_no_matrices():
    class Bare(Decoder):
        def __init__(self):
            super().__init__(channels=2)
            self.norm = nn.LayerNorm((3, 2))
            self.conv = nn.Conv1d(2, 3, 4)

    assert weight_matrices(Bare()).keys() == {"conv.weight"}


def test_the_decoders_own_terms_are_added():
    record = Record(losses={"reconstruction": torch.tensor(1.5), "kl": torch.tensor(0.25)})
    assert penalty(TinyGRU(channels=CHANNELS), record, Penalties()).item() == 1.75
