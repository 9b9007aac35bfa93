"""How well the cursor was controlled, from the trials."""

import math
import statistics
from collections.abc import Sequence

from spikereach.closed_loop.brain import Feedback
from spikereach.closed_loop.task import Rules, Trial
from spikereach.data.matfile import STEP_S
from spikereach.evaluation.records import Control


def control(
    trials: Sequence[Trial], rules: Rules, *, feedback: Feedback, added_delay: int
) -> Control:
    """Of at least one trial."""
    won = [trial for trial in trials if trial.success]
    bits = sum(math.log2(1 + trial.distance_mm / rules.width_mm) for trial in won)
    moved = [trial for trial in won if trial.path_mm > 0]
    return Control(
        task=rules.kind,
        feedback=feedback,
        added_delay_ms=added_delay * STEP_S * 1000,
        trials=len(trials),
        success_rate=len(won) / len(trials),
        time_to_target_s=_median([trial.steps * STEP_S for trial in won]),
        dial_in_s=_median([(trial.settled - trial.entered) * STEP_S for trial in won]),
        path_efficiency=_median([trial.straight_mm / trial.path_mm for trial in moved]),
        throughput_bit_s=bits / (sum(trial.steps for trial in trials) * STEP_S),
    )


def _median(values: Sequence[float]) -> float | None:
    return float(statistics.median(values)) if values else None
