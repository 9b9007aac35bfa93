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
        origin: where the cursor is at first, in mm.
    """

    def __init__(self, habits: Habits, delay: int, noise: np.ndarray, origin: np.ndarray):
        self.habits, self.noise = habits, iter(habits.noise * noise)
        unseen = round(habits.visual_delay_s / STEP_S)
        self.seen = deque([(origin, origin)] * (unseen + 1), unseen + 1)
        self.pending = deque([np.zeros(2)] * (unseen + delay))
        self.ahead = np.zeros(2)
        self.wanted = np.zeros(2)

    def __call__(self, target: np.ndarray, cursor: np.ndarray) -> np.ndarray:
        """Velocity (2,) in mm/s wanted now, for what is on the screen now, in mm."""
        self.seen.append((target, cursor))
        goal, seen = self.seen[0]
        self.believed = seen + self.ahead
        way, habits = goal - self.believed, self.habits
        distance = np.hypot(*way)
        speed = habits.top_speed_mm_s * min(1.0, distance / habits.slowing_mm)
        heading = way / distance if distance > 0 else way
        self.wanted = self.wanted + STEP_S / habits.inertia_s * (speed * heading - self.wanted)
        noisy = self.wanted + np.hypot(*self.wanted) * next(self.noise)
        self.pending.append(noisy * STEP_S)
        self.ahead = self.ahead + self.pending[-1] - self.pending.popleft()
        return noisy
