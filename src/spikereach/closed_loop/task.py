"""The task: targets one after the other, each to be reached and held."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from spikereach.data.matfile import STEP_S
from spikereach.data.synthetic import GRID, SPACING_MM

Kind = Literal["random", "centre-out"]
"""Targets of the session's grid, or from the centre to the eight around it and back."""
RADIUS_MM = 60.0
"""Of the targets around the centre."""


@dataclass(frozen=True)
class Rules:
    """Of a trial."""

    kind: Kind = "random"
    trials: int = 200
    dwell_s: float = 0.4
    """Within the target without a break."""
    timeout_s: float = 6.0
    width_mm: float = SPACING_MM
    """Side of the square target, which the grid's targets fill without a gap."""

    @property
    def steps(self) -> int:
        """The most that all trials take."""
        return self.trials * round(self.timeout_s / STEP_S)


class Trial(NamedTuple):
    """One target."""

    target: tuple[float, float]
    """In mm."""
    first: int
    """Step at which it appeared."""
    steps: int
    """Until it was held long enough, or given up."""
    success: bool
    entered: int | None
    """Steps until the cursor first was in the target."""
    settled: int | None
    """Steps until it was there to stay, if it was."""
    distance_mm: float
    """From the cursor to the target's centre at first."""
    straight_mm: float
    """From where the cursor was at first to where it entered to stay, or was at the end."""
    path_mm: float
    """The cursor's way between the two."""


def targets(rules: Rules, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Centres of targets in mm, each other than the one before; the first is the centre's."""
    centre = (GRID - 1) / 2
    cell = np.array([GRID // 2, GRID // 2])
    outside = False
    while True:
        if rules.kind == "random":
            flat = (cell[0] * GRID + cell[1] + rng.integers(1, GRID * GRID)) % (GRID * GRID)
            cell = np.array(divmod(int(flat), GRID))
            yield (cell - centre) * SPACING_MM
        else:
            outside = not outside
            angle = 2 * np.pi * rng.integers(8) / 8
            yield RADIUS_MM * np.array([np.cos(angle), np.sin(angle)]) * outside


class Task:
    """Trials as they go.

    Args:
        rules: of all trials.
        rng: of the targets.
        origin: where the cursor is at first, in mm.
    """

    def __init__(self, rules: Rules, rng: np.random.Generator, origin: np.ndarray):
        self.rules, self.coming = rules, targets(rules, rng)
        self.trials: list[Trial] = []
        self.step = 0
        self._begin(origin)

    @property
    def over(self) -> bool:
        return len(self.trials) == self.rules.trials

    def _begin(self, cursor: np.ndarray) -> None:
        self.target = next(self.coming)
        self.first, self.origin, self.cursor = self.step, cursor, cursor
        self.entered, self.since, self.path = None, None, 0.0

    def __call__(self, cursor: np.ndarray) -> None:
        """The cursor's next position in mm."""
        self.step += 1
        steps = self.step - self.first
        self.path += math.dist(cursor, self.cursor)
        self.cursor = cursor
        if np.abs(cursor - self.target).max() < self.rules.width_mm / 2:
            if self.since is None:
                self.since, self.inside = steps, (cursor, self.path)
            self.entered = steps if self.entered is None else self.entered
        else:
            self.since = None
        held = self.since is not None and steps - self.since >= self.rules.dwell_s / STEP_S
        if held or steps >= round(self.rules.timeout_s / STEP_S):
            end, path = self.inside if held else (cursor, self.path)
            way = (math.dist(point, self.origin) for point in (self.target, end))
            settled = self.since if held else None
            found = self.first, steps, held, self.entered, settled, *way, path
            self.trials.append(Trial(tuple(map(float, self.target)), *found))
            self._begin(cursor)
