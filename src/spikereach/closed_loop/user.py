"""The simulated user: from what they see to the velocity that they want."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from spikereach.data.matfile import STEP_S


@dataclass(frozen=True)
class Habits:
    """Parameters of the user; docs/closed-loop.md has their sources."""

    visual_delay_s: float = 0.2
    """From what happens on the screen to what acts on the user."""
    top_speed_mm_s: float = 200.0
    """Wanted far from the target."""
    slowing_mm: float = 40.0
    """Distance from which on the wanted speed falls in proportion."""
    inertia_s: float = 0.06
    """Time constant with which the wanted velocity follows."""
    noise: float = 0.15
    """Deviation of the wanted velocity, relative to its speed."""
    noise_s: float = 0.08
    """Time constant of that noise."""


class User:
    """A feedback controller after Willett et al. 2017, with an internal model of the cursor.

    ``c <- c + (dt / inertia) (f(d) e / d - c)``: the wanted velocity moves towards one along the
    way ``e`` to the target, of a speed that grows with the distance ``d`` up to a limit, and is
    braked by the velocity that it already has. ``e`` is measured from where the internal model has
    the cursor: where it was seen, a visual delay ago, and all that has been wanted but not yet seen
    to happen. The model knows the delay of the decoder, as a user does after practice.

    Args:
        habits: parameters.
        delay: steps from a wanted velocity to the cursor's movement.
        noise: (T, 2) of unit variance, for T steps.
    """

    def __init__(self, habits: Habits, delay: int, noise: np.ndarray):
        self.habits, self.noise = habits, iter(_points(habits.noise * noise))
        self.pending = deque([0j] * (round(habits.visual_delay_s / STEP_S) + delay))
        self.ahead = self.wanted = 0j

    def __call__(self, target: np.ndarray, cursor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What they want of the next T bins, from what was on the screen a visual delay earlier.

        Args:
            target: (T, 2) in mm.
            cursor: (T, 2) in mm.
        Returns:
            velocities (T, 2) in mm/s, and the positions (T, 2) where they believe the cursor.
        """
        habits, wanted, believed = self.habits, [], []
        for goal, seen in zip(_points(target), _points(cursor), strict=True):
            believed.append(seen + self.ahead)
            way = goal - believed[-1]
            distance = abs(way)
            speed = habits.top_speed_mm_s * min(1.0, distance / habits.slowing_mm)
            heading = way / distance if distance > 0 else way
            self.wanted += STEP_S / habits.inertia_s * (speed * heading - self.wanted)
            wanted.append(self.wanted + abs(self.wanted) * next(self.noise))
            self.pending.append(wanted[-1] * STEP_S)
            self.ahead += self.pending[-1] - self.pending.popleft()
        return _pairs(wanted), _pairs(believed)


def _points(pairs: np.ndarray) -> list[complex]:
    """Of the plane: Python adds complex numbers ten times as fast as NumPy does short arrays."""
    return np.ascontiguousarray(pairs).view(complex)[:, 0].tolist()


def _pairs(points: list[complex]) -> np.ndarray:
    return np.array(points).view(float).reshape(-1, 2)
