"""Recurrent nets on counts against PyTorch's own, and their streaming."""

import numpy as np
import pytest
import torch
from decoder_checks import assert_reference_agrees, assert_stream_equals_batch, random_spikes
from torch import nn
from torch.nn import functional

from spikereach.models.counted import Counted

SIZES = {"width": 5, "hidden": 6}
TCN = {"conv_channels": 4, "kernels": [3, 2]}


@pytest.mark.parametrize("more", [{}, {"cell": "min_gru"}, TCN], ids=["gru", "min_gru", "tcn"])
@pytest.mark.parametrize("buffer_format", ["float32", "float16"])
def test_streaming(more, buffer_format):
    torch.manual_seed(0)
    decoder = Counted(channels=4, **SIZES, **more)
    decoder.buffer_format = buffer_format
    assert_stream_equals_batch(decoder, longest=23)
    assert_reference_agrees(decoder, steps=42)


def counts(spikes):
    return spikes.unflatten(0, (-1, 5)).sum(1)


def between(keypoints):
    """Velocities of all steps of bins, from zero before the first one."""
    keypoints = np.concatenate([np.zeros((1, 2)), keypoints])
    ends = np.arange(len(keypoints)) * 5
    steps = np.arange(1, ends[-1] + 1)
    return np.stack([np.interp(steps, ends, column) for column in keypoints.T], axis=1)


@torch.no_grad()
def test_gru_behind_causal_convolutions_is_pytorchs():
    torch.manual_seed(0)
    decoder = Counted(channels=4, **SIZES, **TCN, dropout=0.4).eval()
    peer = nn.GRU(4, 6)
    for name, value in decoder.cell.named_parameters():
        getattr(peer, f"{name}_l0").copy_(value)
    spikes = random_spikes(60, 1, 4)
    x = counts(spikes)[:, 0].T[None]
    for conv, kernel in zip(decoder.convs, TCN["kernels"], strict=True):
        x = functional.conv1d(functional.pad(x, (kernel - 1, 0)), conv.weight, conv.bias).relu()
    states, _ = peer(x.permute(2, 0, 1))
    expected = between(decoder.readout(states)[:, 0].numpy())
    velocity = decoder.decode_standardised(spikes)[:, 0]
    np.testing.assert_allclose(velocity, expected, atol=1e-6)


@torch.no_grad()
def test_min_gru_is_that_of_the_paper():
    """Equations of section 3.1, one unit and one step at a time."""
    torch.manual_seed(0)
    decoder = Counted(channels=4, **SIZES, cell="min_gru").eval()
    spikes = random_spikes(30, 1, 4)
    gate, candidate = (
        (layer.weight.numpy(), layer.bias.numpy())
        for layer in (decoder.cell.gate, decoder.cell.candidate)
    )
    state, states = np.zeros(6), []
    for x in counts(spikes)[:, 0].numpy():
        z = 1 / (1 + np.exp(-(gate[0] @ x + gate[1])))
        state = (1 - z) * state + z * (candidate[0] @ x + candidate[1])
        states.append(state)
    weight, bias = decoder.readout.weight.numpy(), decoder.readout.bias.numpy()
    expected = between(np.stack(states) @ weight.T + bias)
    np.testing.assert_allclose(decoder.decode_standardised(spikes)[:, 0], expected, atol=1e-6)


def test_an_unknown_cell_is_named():
    with pytest.raises(ValueError, match="unknown cell 'lstm'; known: gru, min_gru"):
        Counted(channels=4, **SIZES, cell="lstm")


@pytest.mark.parametrize(
    "wrong", [{"hidden": 0}, {"width": 0}, {"kernels": [3]}, {"conv_channels": 4, "kernels": [0]}]
)
def test_sizes_that_do_not_fit(wrong):
    with pytest.raises(ValueError, match="conv_channels must be at least 1"):
        Counted(channels=4, **SIZES | wrong)
