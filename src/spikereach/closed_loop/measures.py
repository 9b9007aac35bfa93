"""How well the cursor was controlled, from the trials."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from spikereach.closed_loop.task import Rules, Trial
from spikereach.data.matfile import STEP_S


class Control(NamedTuple):
    """Over all trials; None where no trial says anything."""

    trials: int
    success_rate: float
    time_to_target_s: float | None
    """Median over successful trials, from the target's appearance to the end of the dwell."""
    dial_in_s: float | None
    """Median over successful trials of the time from the first contact with the target to the last
    entry (Gilja et al. 2012)."""
    path_efficiency: float | None
    """Median over successful trials: the straight way to the target's edge, over the cursor's."""
    throughput_bit_s: float
    """Sum of the indices of difficulty of successful trials, ``log2(1 + distance / width)``
    (Fitts' law as in ISO 9241-411), over the time of all trials."""


def control(trials: Sequence[Trial], rules: Rules) -> Control:
    """Of at least one trial."""
    won = [trial for trial in trials if trial.success]
    bits = sum(math.log2(1 + trial.distance_mm / rules.width_mm) for trial in won)
    moved = [trial for trial in won if trial.path_mm > 0]
    straight = [max(0.0, trial.distance_mm - rules.width_mm / 2) for trial in moved]
    return Control(
        len(trials),
        len(won) / len(trials),
        _median([trial.steps * STEP_S for trial in won]),
        _median([(trial.settled - trial.entered) * STEP_S for trial in won]),
        _median([way / trial.path_mm for way, trial in zip(straight, moved, strict=True)]),
        bits / (sum(trial.steps for trial in trials) * STEP_S),
    )


def _median(values: Sequence[float]) -> float | None:
    return float(statistics.median(values)) if values else None
