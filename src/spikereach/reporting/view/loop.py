"""The loop, as the page of `spikereach view` plays it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from spikereach.reporting.view.packing import packed, packed_spikes


class Trial(Protocol):
    """See `closed_loop.task.Trial`."""

    target: tuple[float, float]
    first: int
    steps: int
    success: bool


@dataclass(frozen=True, eq=False)
class Looped:
    """A decoder in the hands of a simulated user, for T steps; see `closed_loop.loop.Played`."""

    gain: float
    lookahead_ms: float
    width_mm: float
    """Side of the targets."""
    edge_mm: float
    """The cursor stays within this of the centre, where it begins."""
    trials: Sequence[Trial]
    throughput_bit_s: Sequence[float]
    """After each trial, over all until then."""
    wanted: np.ndarray
    """(T, 2) in mm/s"""
    decoded: np.ndarray
    """(T, 2) in mm/s; the page sums them up to the cursor's way."""
    spikes: np.ndarray
    """(T, C) uint8 of the channels that the decoder reads."""


def in_loop(looped: Sequence[Looped]) -> dict[str, Any]:
    """What the page shows of decoders on the same targets, as JSON-like values."""
    first = looped[0]
    return {
        "width": first.width_mm,
        "edge": first.edge_mm,
        "targets": [trial.target for trial in first.trials],
        "decoders": list(map(_decoder, looped)),
    }


def _decoder(one: Looped) -> dict[str, Any]:
    return {
        "gain": one.gain,
        "lookahead_ms": one.lookahead_ms,
        "starts": [trial.first for trial in one.trials],
        "lengths": [trial.steps for trial in one.trials],
        "success": [bool(trial.success) for trial in one.trials],
        "throughput": one.throughput_bit_s,
        "wanted": packed(one.wanted),
        "decoded": packed(one.decoded),
        **packed_spikes(one.spikes),
    }
