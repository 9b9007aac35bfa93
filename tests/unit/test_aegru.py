"""AEGRU against its equations, its streaming, and what it is trained on."""

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
from scipy import stats
from torch.distributions import Poisson

from spikereach.evaluation import metrics
from spikereach.models.aegru import AEGRU
from spikereach.models.decoder import Timing
from spikereach.ops.common.record import recording

SMALL = {"bins": 3, "width": 4, "latent": 6, "variance_units": 8}


def used(decoder: AEGRU) -> AEGRU:
    """With norms that are not the initial ones."""
    torch.manual_seed(0)
    with torch.no_grad():
        for values in (decoder.norm.running_var, decoder.norm.weight, decoder.layer_norm.weight):
            values.uniform_(0.05, 0.5)
        for values in (decoder.norm.running_mean, decoder.norm.bias, decoder.layer_norm.bias):
            values.uniform_(-0.5, 0.5)
    return decoder.eval()


def by_its_equations(decoder: AEGRU, codes: torch.Tensor) -> torch.Tensor:
    """The state after each code of (n, latent), from zero."""
    cell, norm = decoder.cell, decoder.layer_norm
    state, states = torch.zeros(decoder.latent), []
    for code in codes:
        given = (cell.weight_ih @ code + cell.bias_ih).chunk(3)
        recalled = (cell.weight_hh @ state + cell.bias_hh).chunk(3)
        r, z = (given[0] + recalled[0]).sigmoid(), (given[1] + recalled[1]).sigmoid()
        new = (given[2] + r * recalled[2]).tanh()
        state = (1 - z) * new + z * state
        state = (state - state.mean()) / (state.var(correction=0) + 1e-5).sqrt()
        state = state * norm.weight + norm.bias
        states.append(state)
    return torch.stack(states)


def test_follows_its_equations():
    """A buffer that begins as one row of zeros and grows to the right, summed up from its left."""
    decoder = used(AEGRU(channels=3, **SMALL))
    spikes = random_spikes(40, 1, 3)
    buffer, expected = torch.zeros(1, 3), []
    with torch.no_grad():
        for row in spikes[:, 0]:
            buffer = torch.cat([buffer, row[None]])[-12:]
            sums = torch.stack([part.sum(0) for part in buffer.split(4)])
            codes = decoder.norm(decoder.encoder(torch.log(torch.log1p(sums.exp()))))
            expected.append(decoder.readout(by_its_equations(decoder, codes)[-1]))
        torch.testing.assert_close(decoder.decode(spikes)[:, 0], torch.stack(expected))


@pytest.mark.parametrize(("channels", "per_sum"), [(96, 9_312), (192, 12_384)])
def test_the_first_steps_have_fewer_sums(channels, per_sum):
    """196 less in all, each with its encoding and its step of the GRU."""
    decoder = AEGRU(channels=channels)
    velocity = np.random.default_rng(0).normal(size=(150, 2))
    found, _ = metrics.measure(decoder, random_spikes(150, 1, channels)[:, 0], velocity)
    assert found["dense"] * 150 == pytest.approx(150 * (5 * per_sum + 64) - 196 * per_sum)


def test_streaming():
    decoder = used(AEGRU(channels=3, **SMALL))
    assert_stream_equals_batch(decoder, longest=30)
    assert_reference_agrees(decoder, steps=40)
    assert decoder.timing == Timing(receptive_field=12, latency_steps=12, once_per_step=True)
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


def test_what_training_compares():
    """A prediction after each sum of a window, with the velocity where that sum ends."""
    decoder = used(AEGRU(channels=3, **SMALL))
    spikes, velocity = random_spikes(12, 2, 3), torch.randn(12, 2, 2)
    with torch.no_grad():
        predicted, target = decoder.training_pairs(spikes.byte(), velocity)
        assert torch.equal(target, velocity[[3, 7, 11]])
        sums = torch.stack([spikes[start : start + 4].sum(0) for start in (0, 4, 8)])
        codes = decoder.norm(decoder.encoder(sums.exp().log1p().log()).flatten(0, 1))
        for b, each in enumerate(codes.unflatten(0, (3, 2)).unbind(1)):
            expected = decoder.readout(by_its_equations(decoder, each))
            torch.testing.assert_close(predicted[:, b], expected)
    with pytest.raises(ValueError, match=r"window of 11 steps, .* set `window: 12`"):
        decoder.training_pairs(spikes[:11], velocity[:11])


def test_losses_of_the_variational_encoder():
    """Against the closed forms, at a code that is known."""
    torch.manual_seed(0)
    decoder = AEGRU(channels=3, **SMALL, jitter=0.0, reconstruction_weight=0.5, kl_weight=2.0)
    with torch.no_grad():
        decoder.norm.weight.zero_()
        decoder.norm.bias.fill_(12.0)  # beyond the clamp
        decoder.log_variance[2].weight.zero_()
        decoder.log_variance[2].bias.fill_(-60.0)  # no noise
        decoder.decoder.weight.fill_(1 / 60)
        decoder.decoder.bias.zero_()
    spikes = random_spikes(12, 50, 3, rate=0.4)
    with recording(decoder.train()) as record:
        decoder.training_pairs(spikes, torch.zeros(12, 50, 2))
    # Code 10 everywhere: log rate 1, and KL of N(10, e^-60) from N(0, 1).
    sums = spikes.numpy().reshape(3, 4, 50, 3).sum(1)
    stirling = np.where(sums > 1, sums * np.log(sums.clip(1)) - sums, 0)
    stirling += np.where(sums > 1, np.log(2 * np.pi * sums.clip(1)) / 2, 0)
    reconstruction = (np.e - sums + stirling).mean()
    kl = (10**2 + np.exp(-60) - 1 + 60) / 2
    assert record.losses["reconstruction"].item() == pytest.approx(0.5 * reconstruction, rel=1e-5)
    assert record.losses["kl"].item() == pytest.approx(2 * kl, rel=1e-5)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_jitter_replaces_sums_by_poisson_draws_in_training(jitter, monkeypatch):
    decoder, seen = AEGRU(channels=3, **SMALL, jitter=jitter), []
    monkeypatch.setattr(decoder, "_encode", lambda sums: seen.append(sums) or sums.new_zeros(60, 6))
    torch.manual_seed(0)
    window = torch.ones(12, 20, 3, dtype=torch.uint8)  # four in every sum
    for _ in range(50):
        decoder.train().training_pairs(window, torch.zeros(12, 20, 2))
    found = torch.stack(seen).flatten()
    chance = (1 - jitter) * (torch.arange(20) == 4) + jitter * Poisson(4.0).log_prob(
        torch.arange(20.0)
    ).exp()
    for count, expected in enumerate(chance.tolist()):
        share = (found == count).double().mean().item()
        assert share == pytest.approx(expected, abs=5 * (expected / len(found)) ** 0.5 + 1e-4)
    decoder.eval().training_pairs(window, torch.zeros(12, 20, 2))
    assert (seen[-1] == 4).all()


def test_initial_weights_are_pytorchs():
    """Uniform within one over the root of the inputs, of a GRU of its units; norms do nothing."""
    torch.manual_seed(0)
    decoder = AEGRU(channels=96)
    inputs = {
        "encoder": 96, "cell": 32, "readout": 32, "log_variance.0": 96, "log_variance.2": 128,
        "decoder": 32,
    }  # fmt: skip
    for name, parameter in decoder.named_parameters():
        owner, _, kind = name.rpartition(".")
        if owner in ("norm", "layer_norm"):
            assert (parameter == (kind == "weight")).all(), name
        else:
            bound = inputs[owner] ** -0.5
            uniform = stats.uniform(-bound, 2 * bound)
            drawn = parameter.detach().numpy().ravel()
            assert stats.kstest(drawn, uniform.cdf).pvalue > 1e-3, name
            assert abs(drawn).max() <= bound, name


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
    spikes, velocity = toy_problem(12, 800, 16)
    losses = losses_of_training(decoder, spikes, velocity, updates=40, rate=1e-2)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
