"""What a training asks a scheduler for, from measurements: docs/cluster.md shows them.

Time is counted in window steps, that is 4 ms steps of training windows, and memory in window
steps of one batch. A job that needs more is tried again with more.
"""

import math
from collections.abc import Sequence

from spikereach.config import Stage

SESSION_STEPS = 550_000
"""Of the longest session of the Zenodo record."""
SECONDS_PER_MILLION = {"cpu": 40.0, "cuda": 2.0}
"""Window steps, forward and backward. Measured on one thread of a CPU; CUDA's is assumed."""
KB_PER_STEP = {"cpu": 6.0, "cuda": 0.0}
"""Memory of a batch; that of a GPU is not asked for."""
MB = {"cpu": 2500, "cuda": 6000}
"""Memory with an empty batch."""
MB_PER_MB = 25
"""Memory for each MB of binned sessions, which are packed and compressed."""
SETUP_MIN = 15
LIMIT_MIN = 720
"""Of a first try: a training that is cut off goes on from its last epoch."""


def window_steps(stage: Stage, sessions: int = 1) -> float:
    """Of all epochs, on sessions of :data:`SESSION_STEPS`."""
    windows = sessions * SESSION_STEPS / stage.stride
    if stage.updates_per_epoch is not None:
        windows = stage.updates_per_epoch * stage.batch
    return stage.epochs * windows * stage.window


def minutes(stages: Sequence[Stage], sessions: int, device: str) -> int:
    """Of trainings one after the other, ``device`` being "cpu" or "cuda"."""
    steps = sum(window_steps(stage, sessions) for stage in stages)
    needed = SETUP_MIN + steps / 1e6 * SECONDS_PER_MILLION[device] / 60
    return min(math.ceil(needed), LIMIT_MIN)


def memory_mb(stages: Sequence[Stage], binned_mb: float, device: str) -> int:
    """Of the largest of the trainings, with ``binned_mb`` of sessions."""
    batch = max((stage.batch * stage.window for stage in stages), default=0)
    return math.ceil(MB[device] + MB_PER_MB * binned_mb + batch * KB_PER_STEP[device] / 1000)
