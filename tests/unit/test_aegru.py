"""AEGRU against its equations, and its streaming."""

import numpy as np
import pytest
import torch
from decoder_checks import (
    assert_reference_agrees,
    assert_stream_equals_batch,
    earliest_changes,
    losses_of_training,
    random_spikes,
    toy_problem,
)
from torch import nn

from spikereach.models.aegru import AEGRU
from spikereach.models.decoder import Timing
from spikereach.ops.common.record import recording

SMALL = {"bins": 3, "width": 4, "latent": 6, "variance_units": 8}


def used(decoder: AEGRU) -> AEGRU:
    """With batch statistics that are not the initial ones."""
    torch.manual_seed(0)
    decoder.norm.running_mean.uniform_(-0.5, 0.5)
    decoder.norm.running_var.uniform_(0.05, 0.5)
    return decoder.eval()


def test_follows_its_equations():
    decoder = used(AEGRU(channels=3, **SMALL))
    spikes = random_spikes(40, 1, 3)
    silence = torch.zeros(11, 3)
    recording = torch.cat([silence, spikes[:, 0]])
    gru = nn.GRU(6, 6)
    for name, parameter in decoder.cell.named_parameters():
        getattr(gru, f"{name}_l0").data = parameter.data
    expected = []
    with torch.no_grad():
        for t in range(40):
            counts = recording[t : t + 12].reshape(3, 4, 3).sum(1)
            codes = decoder.norm(decoder.encoder(torch.log(torch.log1p(counts.exp()))))
            outputs, _ = gru(codes[:, None])
            expected.append(decoder.readout(decoder.layer_norm(outputs[-1, 0])))
        torch.testing.assert_close(decoder.decode(spikes)[:, 0], torch.stack(expected))


def test_streaming():
    decoder = used(AEGRU(channels=3, **SMALL))
    assert_stream_equals_batch(decoder, longest=30)
    assert_reference_agrees(decoder, steps=40)
    assert decoder.timing == Timing(lookahead=0, receptive_field=12, latency_steps=12)
    assert set(earliest_changes(decoder, 40, range(20, 25)).values()) == {0}


def test_receptive_field():
    decoder = used(AEGRU(channels=3, **SMALL))
    spikes = random_spikes(60, 1, 3)
    with torch.no_grad():
        before = decoder.decode(spikes)[40]
        for position in range(60):
            changed = spikes.clone()
            changed[position] = 1 - changed[position]
            same = torch.equal(decoder.decode(changed)[40], before)
            assert same != (40 - 12 < position <= 40)


def test_losses_of_the_variational_encoder():
    """Against the closed forms, at a code that is known."""
    torch.manual_seed(0)
    decoder = AEGRU(channels=3, **SMALL, reconstruction_weight=0.5, kl_weight=2.0).train()
    with torch.no_grad():
        decoder.norm.weight.zero_()
        decoder.norm.bias.fill_(12.0)  # beyond the clamp
        decoder.log_variance[2].weight.zero_()
        decoder.log_variance[2].bias.fill_(-60.0)  # no noise
        decoder.decoder.weight.fill_(1 / 60)
        decoder.decoder.bias.zero_()
    spikes = random_spikes(20, 2, 3)
    with recording(decoder) as record:
        decoder(spikes)
    # Code 10 everywhere: log rate 1, and KL of N(10, e^-60) from N(0, 1).
    padded = np.concatenate([np.zeros((11, 2, 3)), spikes.numpy()])
    counts = np.array([padded[t : t + 4].sum(0) for t in range(len(padded) - 3)])
    reconstruction = (np.e - counts).mean()
    kl = (10**2 + np.exp(-60) - 1 + 60) / 2
    assert record.losses["reconstruction"].item() == pytest.approx(0.5 * reconstruction, rel=1e-5)
    assert record.losses["kl"].item() == pytest.approx(2 * kl, rel=1e-5)


def test_no_losses_in_evaluation():
    decoder = used(AEGRU(channels=3, **SMALL))
    with recording(decoder) as record:
        decoder(random_spikes(20, 2, 3))
    assert record.losses == {}


def test_folding_leaves_what_decoding_needs():
    decoder = used(AEGRU(channels=96))
    spikes = random_spikes(150, 1, 96)
    with torch.no_grad():
        before = decoder.decode(spikes)
        decoder.fold()
        assert torch.equal(decoder.decode(spikes), before)
    encoder, cell = 96 * 32 + 32, 2 * 3 * 32 * 33
    expected = encoder + 2 * 32 + cell + 2 * 32 + 2 * 32 + 2
    assert sum(parameter.numel() for parameter in decoder.parameters()) == expected
    assert decoder.folded
    decoder.train()
    assert decoder.decode(spikes).isfinite().all()


def test_learns():
    torch.manual_seed(0)
    decoder = AEGRU(channels=16, **SMALL, dropout=0.0, kl_weight=0.01)
    spikes, velocity = toy_problem(100, 8, 16)
    losses = losses_of_training(decoder, spikes, velocity, updates=40, rate=1e-2)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
