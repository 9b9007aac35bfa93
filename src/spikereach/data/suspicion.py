"""Channels that record no neurons, by their spikes alone: silent ones, and those that look wrong.

Recordings have them: broken electrodes, two that touch each other, mains hum above the threshold,
an amplifier at its end. A decoder takes all of them for neurons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import median_filter

from spikereach.data.matfile import STEP_S

SHARED = 0.5
"""Of the steps in which one of two channels fires, the share in which both do: from here on they
are one. Two that fire by chance in half of all steps share a third of them."""
FULL = 0.5
"""Share of steps with a spike (125 Hz) from which on a channel is saturated; or, without a gap,"""
RUN = 250
"""that many steps, 1 s."""
SPIKES = 100
"""Fewest spikes of which anything but silence is said."""
LONGEST, PIECES = 2048, 16
"""Steps of the longest piece whose spectrum is taken, and fewest pieces of a recording."""
LOWEST_HZ = 5.0
"""Movements, which are slower, are no fault."""
LINE = 10.0
"""Power of a periodic channel at its frequency, relative to that around it. Of noise, the mean of
:data:`PIECES` spectra comes as high in one of 10^40."""
NEIGHBOURS = 101
"""Frequencies around one, whose median is compared with it."""


@dataclass(frozen=True)
class Suspicion:
    """Channels that have one thing wrong with them together."""

    kind: Literal["silent", "identical", "periodic", "saturated"]
    channels: tuple[int, ...]
    """Columns of the spikes, from 0."""
    detail: str = ""
    """How one sees it, such as a frequency. Above 125 Hz a period seems to have a lower one."""

    def __str__(self) -> str:
        named = " and ".join(map(str, self.channels))
        return f"{named} {self.kind}" + (f" ({self.detail})" if self.detail else "")


def suspicions(spikes: np.ndarray) -> list[Suspicion]:
    """What is wrong with channels; of a channel the first that is found, in the order of kinds
    silent, saturated, identical, periodic.

    Args:
        spikes: (T, C) uint8 of 0 and 1.
    """
    counts = spikes.sum(axis=0, dtype=np.int64)
    found = [Suspicion("silent", (int(each),)) for each in np.flatnonzero(counts == 0)]
    found += _saturated(spikes, counts)
    found += _identical(spikes, counts, _left(counts, found))
    found += _periodic(spikes, _left(counts, found))
    return found


def _left(counts: np.ndarray, found: list[Suspicion]) -> np.ndarray:
    """Channels of which something can be said and nothing has been."""
    said = [channel for each in found for channel in each.channels]
    return np.setdiff1d(np.flatnonzero(counts >= SPIKES), said)


def _saturated(spikes: np.ndarray, counts: np.ndarray) -> Iterator[Suspicion]:
    half = RUN // 2  # a run has one such block in it
    blocks = spikes[: len(spikes) // half * half].reshape(-1, half, len(counts))
    full = blocks.min(axis=1).any(axis=0)
    often = (counts >= SPIKES) & (counts >= FULL * len(spikes))
    for channel in np.flatnonzero(full | often):
        share, run = counts[channel] / len(spikes), _longest_run(spikes[:, channel])
        if share >= FULL:
            detail = f"a spike in {100 * share:.0f} % of the steps"
        elif run >= RUN:
            detail = f"a spike in every step for {run * STEP_S:.1f} s"
        else:
            continue
        yield Suspicion("saturated", (int(channel),), detail)


def _longest_run(spikes: np.ndarray) -> int:
    """Most steps in a row that have a spike."""
    empty = np.flatnonzero(spikes == 0)
    return int(np.diff(empty, prepend=-1, append=len(spikes)).max()) - 1


def _identical(spikes: np.ndarray, counts: np.ndarray, channels: np.ndarray) -> Iterator[Suspicion]:
    """Groups of channels, each of which is like another one of the group."""
    bits = _words(spikes[:, channels])
    group, lowest = {int(channel): int(channel) for channel in channels}, {}
    for place, channel in enumerate(channels[:-1]):
        both = np.bitwise_count(bits[place] & bits[place + 1 :]).sum(axis=1, dtype=np.int64)
        either = counts[channel] + counts[channels[place + 1 :]] - both
        for other in np.flatnonzero(both >= SHARED * either):
            share, partner = both[other] / either[other], int(channels[place + 1 + other])
            old, new = group[partner], group[int(channel)]
            group = {each: new if of == old else of for each, of in group.items()}
            lowest[new] = min(share, lowest.get(new, 1.0), lowest.pop(old, 1.0))
    for first, share in lowest.items():
        channels = tuple(channel for channel in group if group[channel] == first)
        yield Suspicion("identical", channels, f"{100 * share:.0f} % of their spikes in common")


def _words(spikes: np.ndarray) -> np.ndarray:
    """Spikes (T, C) as the bits of (C, ceil(T / 64)) whole numbers."""
    packed = np.packbits(spikes, axis=0)
    packed = np.pad(packed, ((0, -len(packed) % 8), (0, 0)))
    return np.ascontiguousarray(packed.T).view(np.uint64)


def _periodic(spikes: np.ndarray, channels: np.ndarray) -> Iterator[Suspicion]:
    """Channels with a line in their spectrum, averaged over pieces side by side (Bartlett)."""
    length = min(LONGEST, len(spikes) // PIECES)
    frequencies = np.arange(1, length // 2) / (length * STEP_S)  # neither 0 nor the highest
    if not (frequencies > LOWEST_HZ).any():
        return
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    for channel in channels:
        pieces = spikes[: len(spikes) // length * length, channel].reshape(-1, length)
        pieces = pieces - np.float32(pieces.mean())
        power = np.square(np.abs(np.fft.rfft(pieces * window))).mean(axis=0)[1 : length // 2]
        around = median_filter(power, min(NEIGHBOURS, len(power)), mode="nearest")
        lines = np.flatnonzero((power > LINE * around) & (frequencies > LOWEST_HZ))
        if lines.size:  # of a train of pulses all multiples of its frequency stand out alike
            first = lines[power[lines] > power[lines].max() / 2][0]
            yield Suspicion("periodic", (int(channel),), f"{frequencies[first]:.1f} Hz")
