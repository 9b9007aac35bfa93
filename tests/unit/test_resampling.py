"""A movement brought to 250 Hz: what passes, what does not, and where it is read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from spikereach.data.nwb import resampling
from spikereach.data.nwb.resampling import low_pass, resample


def of(times, values):
    values = np.stack([values, -values], axis=1)
    found = resample(times, lambda begin, end: values[begin:end])
    assert np.array_equal(found.values[:, 1], -found.values[:, 0])
    return found


@pytest.mark.parametrize("rate", [300.0, 500.0, 1000.0, 1000.4, 2000.0, 30000.0])
def test_below_100_hz_passes_and_above_125_hz_does_not(rate):
    times = 3.0 + np.arange(int(4 * rate)) / rate
    for frequency, share in ((7.0, 1), (60.0, 1), (95.0, 1), (130.0, 0), (149.0, 0)):
        wave = np.sin(2 * np.pi * frequency * times)
        found = of(times, wave)
        expected = share * np.sin(2 * np.pi * frequency * found.times)
        inner = slice(50, -50)  # without the ends, where a wave is continued otherwise
        # Between the samples of the slowest a spline is read off, which knows high waves less well.
        slack = 0.2 if rate == 300 and frequency > 50 else 0.02 if rate != round(rate, -3) else 2e-3
        np.testing.assert_allclose(found.values[inner, 0], expected[inner], atol=slack)


@given(st.floats(12, 3000), st.floats(-1e4, 1e4), st.floats(1.0, 2.0))
@settings(max_examples=30, deadline=None)
def test_a_straight_line_stays_one_and_nothing_is_delayed(rate, start, seconds):
    times = start + np.arange(int(seconds * rate) + 2) / rate
    found = of(times, 3 * (times - start) + 1)
    np.testing.assert_allclose(found.values[:, 0], 3 * (found.times - start) + 1, atol=1e-6)
    steps = np.diff(found.times)
    np.testing.assert_allclose(steps, 0.004, atol=0.0041 if "as it is" in found.how else 1e-9)
    assert found.times[0] == times[0]
    assert times[-1] - 0.006 < found.times[-1] <= times[-1] + 1e-8


def test_samples_at_250_hz_are_taken_as_they_are():
    rng = np.random.default_rng(1)
    times = 10 + 0.004 * np.arange(1000) + rng.uniform(-0.0009, 0.0009, 1000)
    values = rng.normal(size=1000)
    found = of(times, values)
    assert np.array_equal(found.times, times)
    assert np.array_equal(found.values[:, 0], values)


def test_irregular_times_give_the_movement_between_them():
    rng = np.random.default_rng(2)
    times = np.sort(rng.uniform(0, 5, 5000))
    found = of(times, np.sin(2 * np.pi * times))
    assert "irregular" in found.how
    inner = slice(50, -50)
    np.testing.assert_allclose(
        found.values[inner, 0], np.sin(2 * np.pi * found.times[inner]), atol=5e-3
    )


def test_by_blocks_and_by_scipy_it_is_the_same(monkeypatch):
    rng = np.random.default_rng(3)
    times = np.arange(20000) / 1000
    walk = np.cumsum(rng.normal(size=20000))
    whole = of(times, walk).values[:, 0]
    monkeypatch.setattr(resampling, "BLOCK", 1000)
    np.testing.assert_allclose(of(times, walk).values[:, 0], whole, atol=1e-9)
    theirs = resample_poly(walk, 1, 4, window=low_pass(1000))
    np.testing.assert_allclose(whole[50:-50], theirs[50:-50], atol=1e-9)
