"""A movement brought to 250 Hz.

The rule. Samples that already lie on a grid of 4 ms, each less than half a step from its place,
are taken as they are. A faster series is first filtered by a symmetric FIR low-pass, which delays
nothing: it passes what is below 100 Hz and takes 60 dB off what is above 125 Hz, half of the new
rate (Kaiser window; at the ends the series is continued by point reflection, so that a straight
line stays one). Of a multiple of 250 Hz, every n-th filtered sample is then taken. Between the
samples of all others, a cubic spline is read off. Samples at irregular times are first brought to a
regular grid at their usual rate, by straight lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spikereach.data.matfile import STEP_S

RATE_HZ = 250
PASS_HZ, STOP_HZ = 100.0, RATE_HZ / 2
ATTENUATION_DB = 60.0
BLOCK = 2**16
"""Samples that are filtered at a time."""
_SAME_HZ = 1e-3
"""A rate that exceeds 250 Hz by less is not faster: it is the quotient of rounded times."""
_SPLINE_HZ = 1000
"""Rate down to which a filtered series is thinned before the spline."""


@dataclass(frozen=True)
class Resampled:
    """A stretch of movement at 250 Hz."""

    times: np.ndarray
    """(n,) seconds on the clock of the file."""
    values: np.ndarray
    """(n, 2)."""
    how: str


def on_grid(times: np.ndarray) -> bool:
    """Whether samples at ``times`` (m,) are at 250 Hz already."""
    places = times[0] + STEP_S * np.arange(times.size)
    return bool(np.abs(times - places).max() < STEP_S / 2)


def resample(times: np.ndarray, read: Callable[[int, int], np.ndarray]) -> Resampled:
    """Bring one stretch without gaps to 250 Hz.

    Args:
        times: (m,) increasing, in seconds, over at least a second.
        read: gives samples ``begin`` to ``end`` of the stretch, (n, 2).
    """
    count = times.size
    if on_grid(times):
        return Resampled(times, read(0, count), "taken as it is, at 250 Hz")
    rate = (count - 1) / (times[-1] - times[0])
    how = f"from {rate:.6g} Hz"
    if np.abs(times - np.linspace(times[0], times[-1], count)).max() > 0.25 / rate:
        usual = 1 / np.median(np.diff(times))
        regular = times[0] + np.arange(int((times[-1] - times[0]) * usual + 1e-6) + 1) / usual
        values = read(0, count)
        even = np.stack([np.interp(regular, times, each) for each in values.T], axis=1)
        rate, count, read = usual, regular.size, lambda begin, end: even[begin:end]
        how = f"from irregular times, usually at {rate:.6g} Hz"
    steps = _steps(count, rate)
    if rate <= RATE_HZ + _SAME_HZ:
        values = _spline(read(0, count), rate)
        return Resampled(_grid(times, values), values, f"{how} by a cubic spline")
    ratio = rate / RATE_HZ
    whole = round(ratio)
    every = abs(ratio - whole) * steps < 0.01  # no drift by the last sample
    thin = whole if every else max(1, int(rate // _SPLINE_HZ))
    values = _filtered(read, count, thin, rate)
    how = f"{how} by a low-pass ({PASS_HZ:g} to {STOP_HZ:g} Hz)"
    if every:
        return Resampled(_grid(times, values), values, f"{how}, one sample of {whole}")
    values = _spline(values, rate / thin)
    return Resampled(_grid(times, values), values, f"{how} and a cubic spline")


def _steps(count: int, rate: float) -> int:
    """Steps of 4 ms that samples at a rate in Hz have values for."""
    return int((count - 1) / rate * RATE_HZ + 1e-6) + 1


def _grid(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    return times[0] + STEP_S * np.arange(len(values))


def _spline(values: np.ndarray, rate: float) -> np.ndarray:
    """A spline through values (m, 2) at a rate in Hz, read off at 250 Hz."""
    from scipy.interpolate import CubicSpline

    at = np.minimum(np.arange(_steps(len(values), rate)) * STEP_S * rate, len(values) - 1)
    return CubicSpline(np.arange(len(values)), values)(at)


def _filtered(
    read: Callable[[int, int], np.ndarray], count: int, thin: int, rate: float
) -> np.ndarray:
    """Every ``thin``-th sample of the filtered series, read block by block."""
    from scipy.signal import oaconvolve

    taps = low_pass(rate)
    half = taps.size // 2
    first, last = read(0, half + 1), read(count - half - 1, count)
    before, after = 2 * first[0] - first[:0:-1], 2 * last[-1] - last[-2::-1]
    parts = []
    block = max(1, BLOCK // thin) * thin
    for begin in range(0, count, block):
        end = min(begin + block, count)
        part = read(max(begin - half, 0), min(end + half, count))
        lacking = before if begin == 0 else before[:0]
        beyond = after[: max(end + half - count, 0)]
        part = np.concatenate([lacking, part, beyond])
        parts.append(oaconvolve(part, taps[:, None], mode="valid", axes=0)[::thin])
    return np.concatenate(parts)


def low_pass(rate: float) -> np.ndarray:
    """The taps of the filter at a sampling rate in Hz, an odd number, of sum one."""
    from scipy.signal import firwin, kaiserord

    count, beta = kaiserord(ATTENUATION_DB, (STOP_HZ - PASS_HZ) / (rate / 2))
    taps = firwin(count | 1, (PASS_HZ + STOP_HZ) / 2, window=("kaiser", beta), fs=rate)
    return taps / taps.sum()
