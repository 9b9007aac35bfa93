"""Which times of an NWB file are recorded and valid, and what is left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GAP_S = 0.02
"""Samples that are further apart than this, and than 2.5 usual spacings, have a gap between them;
single lost samples have not."""
TOUCH_S = 0.002
"""Intervals that are nearer to each other are one: those of trials end with rounding errors."""
SHORTEST_S = 1.0
"""A stretch that is shorter is left out."""

Intervals = list[tuple[float, float]]
"""Sorted, apart from each other, in seconds."""


@dataclass(frozen=True)
class LeftOut:
    """A time that is not in the session, and why."""

    start_s: float
    stop_s: float
    why: str


def sampled(times: np.ndarray, finite: np.ndarray) -> Intervals:
    """Stretches in which a series has values: ``times`` (N,) and whether each is a number (N,)."""
    kept = times[finite]
    if kept.size < 2:
        return []
    limit = max(GAP_S, 2.5 * float(np.median(np.diff(times))))
    breaks = np.flatnonzero(np.diff(kept) > limit)
    begins = np.concatenate([[0], breaks + 1])
    ends = np.concatenate([breaks, [kept.size - 1]])
    return [(float(kept[a]), float(kept[b])) for a, b in zip(begins, ends, strict=True)]


def merged(intervals: np.ndarray) -> Intervals:
    """Intervals (n, 2) in any order, those that overlap or nearly touch joined, and without those
    that have no length."""
    found: Intervals = []
    each = np.asarray(intervals, float).reshape(-1, 2)
    for start, stop in sorted(map(tuple, each[each[:, 0] < each[:, 1]].tolist())):
        if found and start <= found[-1][1] + TOUCH_S:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


def common(first: Intervals, second: Intervals) -> Intervals:
    """What lies in both."""
    found = []
    i = j = 0
    while i < len(first) and j < len(second):
        start = max(first[i][0], second[j][0])
        stop = min(first[i][1], second[j][1])
        if start < stop:
            found.append((start, stop))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return found


def without(first: Intervals, second: Intervals) -> Intervals:
    """What lies in the first and not in the second."""
    edges = [-np.inf, *(edge for each in second for edge in each), np.inf]
    return common(first, list(zip(edges[::2], edges[1::2], strict=True)))


def usable(
    span: tuple[float, float],
    recorded: Intervals,
    observed: Intervals | None,
    invalid: Intervals,
) -> tuple[Intervals, list[LeftOut]]:
    """The stretches that make the session, and what of the span is not in them.

    Args:
        span: times of the first sample and the last.
        recorded: where the behaviour has samples.
        observed: where all units were observed (``obs_intervals``); None where nothing is said.
        invalid: the file's ``invalid_times``.
    """
    out = [LeftOut(*each, "no samples of the behaviour") for each in without([span], recorded)]
    kept = recorded
    if observed is not None:
        out += [LeftOut(*each, "a unit is not observed") for each in without(kept, observed)]
        kept = common(kept, observed)
    out += [LeftOut(*each, "invalid_times") for each in common(kept, invalid)]
    kept = without(kept, invalid)
    short = [each for each in kept if each[1] - each[0] < SHORTEST_S]
    out += [LeftOut(*each, f"shorter than {SHORTEST_S:g} s") for each in short]
    kept = [each for each in kept if each not in short]
    return kept, sorted(out, key=lambda each: each.start_s)
