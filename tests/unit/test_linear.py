"""Wiener and Kalman filters against independent solutions in numpy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from decoder_checks import (
    assert_reference_agrees,
    assert_stream_equals_batch,
    earliest_changes,
    random_spikes,
)

from spikereach.models import linear
from spikereach.models.linear import Kalman, Wiener


def lagged(spikes: np.ndarray, lags: int, width: int) -> np.ndarray:
    """(T, lags * C): counts of the steps t - l w - w + 1 to t - l w, newest lag first."""
    rows = []
    for t in range(len(spikes)):
        row = []
        for lag in range(lags):
            stop = t - lag * width + 1
            row.append(spikes[max(0, stop - width) : max(0, stop)].sum(0))
        rows.append(np.concatenate(row))
    return np.array(rows)


def recording(steps: int, channels: int, seed: int = 0):
    """Spikes driven by a smooth velocity some steps later."""
    rng = np.random.default_rng(seed)
    time = np.arange(steps)[:, None]
    velocity = np.sin(time / [31.0, 47.0] + rng.uniform(0, 6, 2)) + 0.3
    tuning = rng.normal(size=(2, channels))
    rate = 0.1 * np.exp(0.8 * np.roll(velocity, -8, axis=0) @ tuning - 0.5)
    spikes = (rng.random((steps, channels)) < rate).astype(np.float32)
    return torch.from_numpy(spikes), torch.from_numpy(velocity.astype(np.float32))


def r2(predicted, true):
    return (1 - ((predicted - true) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)).mean()


@pytest.mark.parametrize("begun", [0, 3, 20])
def test_a_kalman_stream_equals_forward(begun):
    spikes, velocity = recording(2000, 6)
    decoder = Kalman(channels=6, width=10)
    decoder.fit_closed_form(spikes, velocity)
    state = decoder(spikes[:begun, None])[1] if begun else None
    expected, _ = decoder(spikes[begun:200, None], state)
    step = decoder.standardised_streamer(state)
    streamed = [step(x.astype(np.uint8)).copy() for x in spikes[begun:200].numpy()]
    assert expected.std() > 0.01
    np.testing.assert_allclose(streamed, expected[:, 0].detach().numpy(), rtol=1e-4, atol=1e-5)


def test_wiener_counts():
    decoder = Wiener(channels=3, lags=4, width=5)
    spikes = random_spikes(60, 1, 3)
    padded = torch.cat([torch.zeros(19, 1, 3), spikes])
    expected = lagged(spikes[:, 0].numpy(), 4, 5)
    np.testing.assert_array_equal(decoder.counts(padded)[:, 0].numpy(), expected)


def test_wiener_is_ridge_regression(monkeypatch):
    monkeypatch.setattr(linear, "PENALTIES", (0.03,))
    spikes, velocity = recording(1500, 4)
    decoder = Wiener(channels=4, lags=3, width=6)
    assert decoder.fit_closed_form(spikes, velocity)
    # The same rows: from the first with a full history on, every fourth of each fold.
    bounds = torch.linspace(17, 1500, linear.FOLDS + 1).long().tolist()
    rows = np.concatenate([np.arange(a, b, 4) for a, b in pairwise(bounds)])
    x = lagged(spikes.numpy(), 3, 6)[rows].astype(np.float64)
    y = velocity.numpy()[rows].astype(np.float64)
    centred = x - x.mean(0)
    penalty = 0.03 * centred.var(0).mean() * len(x)
    # Ridge as ordinary least squares on augmented rows.
    augmented = np.concatenate([centred, np.sqrt(penalty) * np.eye(12)])
    target = np.concatenate([y - y.mean(0), np.zeros((12, 2))])
    weight, *_ = np.linalg.lstsq(augmented, target, rcond=None)
    np.testing.assert_allclose(decoder.linear.weight.detach().numpy(), weight.T, atol=1e-5)
    bias = y.mean(0) - x.mean(0) @ weight
    np.testing.assert_allclose(decoder.linear.bias.detach().numpy(), bias, atol=1e-5)


def test_wiener_penalty_is_cross_validated():
    """Where velocity has nothing to do with the spikes, the strongest penalty wins."""
    generator = torch.Generator().manual_seed(0)
    spikes, velocity = recording(3000, 6)
    noise = torch.randn(velocity.shape, generator=generator)
    informed, ignorant = (Wiener(channels=6, lags=5, width=10) for _ in range(2))
    informed.fit_closed_form(spikes, velocity)
    ignorant.fit_closed_form(spikes, noise)
    assert ignorant.linear.weight.abs().max() < 0.1 * informed.linear.weight.abs().max()


@pytest.mark.parametrize(
    "decoder", [Wiener(channels=12, lags=5, width=8), Kalman(channels=12, width=8)]
)
def test_decodes_unseen_movement(decoder):
    spikes, velocity = recording(6000, 12)
    assert decoder.fit_closed_form(spikes[:4000], velocity[:4000])
    predicted = decoder.decode(spikes[4000:, None])[:, 0].detach()
    assert r2(predicted.numpy(), velocity[4000:].numpy()) > 0.5


def test_streaming(monkeypatch):
    monkeypatch.setattr(linear, "CHUNK", 16)
    for decoder in (Wiener(channels=5, lags=3, width=7), Kalman(channels=5, width=7)):
        assert decoder.fit_closed_form(*recording(1500, 5))
        assert_stream_equals_batch(decoder, longest=40)
        assert_reference_agrees(decoder, steps=50)
        assert decoder.timing.lookahead == 0
        assert min(earliest_changes(decoder, 60, range(20, 34)).values()) == 0


@pytest.mark.parametrize("joints", [(), (904,), (5, 904)])
def test_kalman_is_the_textbook_filter(joints):
    """Fit and recursion in covariance form, Wu et al. 2006; stretches of time one by one."""
    width, channels = 6, 4
    spikes, velocity = recording(1806, channels)
    decoder = Kalman(channels=channels, width=width)
    decoder.fit_closed_form(spikes, velocity, joints)

    counts, held, change, pairs = [], [], [], []
    for start, stop in pairwise([0, *joints, 1806]):
        updates = (stop - start - width) // width
        for k in range(updates):
            first = start + k * width
            counts.append(spikes.numpy()[first : first + width].sum(0))
            held.append(velocity.numpy()[first + width - 1 : first + 2 * width - 1].mean(0))
            change.append(held[-1] - held[-2] if k else np.zeros(2))
            pairs += [(len(held) - 2, len(held) - 1)] * (k > 0)
    counts, held, change = (np.array(each, np.float64) for each in (counts, held, change))
    before, after = np.array(pairs).T
    x = np.concatenate([held - held.mean(0), change - change.mean(0)], axis=1)
    z = counts - counts.mean(0)
    a = np.linalg.lstsq(x[before], x[after], rcond=None)[0].T
    w = (x[after] - x[before] @ a.T).T @ (x[after] - x[before] @ a.T) / len(pairs)
    h = np.linalg.lstsq(x, z, rcond=None)[0].T
    q = (z - x @ h.T).T @ (z - x @ h.T) / len(z)
    q += 1e-3 * z.var(0, ddof=1).mean() * np.eye(channels)

    mean, covariance, expected = np.zeros(4), w, []
    for k in range(60):
        observed = spikes.numpy()[k * width : (k + 1) * width].sum(0) - counts.mean(0)
        mean, covariance = a @ mean, a @ covariance @ a.T + w
        gain = covariance @ h.T @ np.linalg.inv(h @ covariance @ h.T + q)
        mean = mean + gain @ (observed - h @ mean)
        covariance = (np.eye(4) - gain @ h) @ covariance
        expected.append(mean[:2] + held.mean(0))
    with torch.no_grad():
        actual, _ = decoder(spikes[: 60 * width, None])
    np.testing.assert_allclose(actual[width - 1 :: width, 0].numpy(), expected, atol=1e-3)
    # In between, the last estimate is held.
    assert torch.equal(actual[width - 1 : -1 : width], actual[2 * width - 2 :: width])


def test_kalman_survives_a_silent_channel():
    spikes, velocity = recording(1500, 5)
    spikes[:, 2] = 0
    decoder = Kalman(channels=5, width=5)
    decoder.fit_closed_form(spikes, velocity)
    predicted = decoder.decode(spikes[:, None])[:, 0].detach()
    assert r2(predicted.numpy(), velocity.numpy()) > 0.3


@pytest.mark.parametrize(
    "decoder", [Wiener(channels=5, lags=2, width=4), Kalman(channels=5, width=4)]
)
def test_nothing_to_fit(decoder):
    spikes, velocity = recording(200, 5)
    with pytest.raises(ValueError, match="too few"):
        decoder.fit_closed_form(spikes[:20], velocity[:20])
    with pytest.raises(ValueError, match="no spikes"):
        decoder.fit_closed_form(torch.zeros(200, 5), velocity)


def test_sizes():
    for sizes in ({"lags": 0, "width": 3}, {"lags": 3, "width": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            Wiener(channels=2, **sizes)
    with pytest.raises(ValueError, match="must be positive"):
        Kalman(channels=2, width=0)
    assert [size.values for size in Wiener(channels=2, lags=10, width=20).buffer_sizes()] == [400]
