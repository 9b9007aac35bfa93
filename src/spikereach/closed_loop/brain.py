"""The simulated brain: from the velocity that the user wants to spikes."""

from typing import Literal

import numpy as np

from spikereach.data.matfile import STEP_S
from spikereach.data.population import Population
from spikereach.data.synthetic import (
    AREAS,
    AROUSAL,
    AROUSAL_S,
    POSITION_MM,
    PRIVATE_S,
    SHARED,
    SHARED_S,
    VELOCITY_MM_S,
    relative_rate,
    smooth_noise,
)

Feedback = Literal["moving", "silent", "seen"]
"""What S1 hears of: the arm, which moves as wanted; nothing, as of a paralysed arm; the cursor."""

EXECUTION_S = AREAS["M1"].lead_s
"""From a wanted velocity to the movement of an arm that can move. Units whose firing leads the
movement by more fire at once."""
BLOCK = 1024
"""Steps of random numbers drawn at a time."""


class Brain:
    """A population that fires with what the user wants, bin by bin.

    Args:
        population: of a synthetic session.
        feedback: of S1.
        steps: T, as many as it can be called.
        rng: of all noise; equal ones give equal noise whatever is wanted.
    """

    def __init__(
        self, population: Population, feedback: Feedback, steps: int, rng: np.random.Generator
    ):
        self.population, self.feedback = population, feedback
        names = list(dict.fromkeys(population.areas))
        areas = [AREAS[name] for name in names]
        self.arousal = np.exp(AROUSAL * smooth_noise((steps,), AROUSAL_S, rng))
        self.error = np.stack(
            [area.private_noise * smooth_noise((2, steps), PRIVATE_S, rng).T for area in areas]
        )
        shared = [smooth_noise((SHARED, steps), SHARED_S, rng).T for _ in areas]
        self.shared = np.stack(shared, axis=1)
        self.rng = rng
        of_channel = np.array([names.index(area) for area in population.areas])
        self.area = of_channel[population.channel]
        leads = np.array([area.lead_s for area in areas])
        # What is seen of the cursor comes late already: only the spread of lags is added.
        earliest = np.full(len(areas), EXECUTION_S)
        if feedback == "seen":
            earliest = np.where(np.array(names) == "S1", leads, earliest)
        lags = (earliest[self.area] - population.units.lead_s) / STEP_S
        lag = np.maximum(0, np.rint(lags).astype(int))
        self.start = int(lag.max())
        self.encoded = np.zeros((self.start + steps, len(areas), 4))
        self.place = self.area - lag * len(areas)  # of each unit, in rows of all areas
        self.follows = [feedback == "moving" or name != "S1" for name in names]
        self.step = 0

    def __call__(self, wanted: np.ndarray, believed: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Spikes (C,) uint8 of this bin.

        Args:
            wanted: velocity (2,) in mm/s.
            believed: position (2,) in mm where the user takes the cursor to be.
            seen: velocity (2,) of the cursor in mm/s that the user sees now.
        """
        step, now = self.step, self.start + self.step
        self.step += 1
        for area, follows in enumerate(self.follows):
            velocity, position = wanted, believed
            if not follows:
                velocity = seen if self.feedback == "seen" else np.zeros(2)
                position = believed if self.feedback == "seen" else np.zeros(2)
            self.encoded[now, area, :2] = velocity / VELOCITY_MM_S + self.error[area, step]
            self.encoded[now, area, 2:] = position / POSITION_MM
        rows = self.encoded.reshape(-1, 4)
        x, y, px, py = rows[self.place + now * len(self.follows)].T
        shared = self.shared[step, self.area].T
        rate = relative_rate(self.population.units, x, y, px, py, shared)
        rate *= self.population.rate_hz * self.arousal[step]
        expected = np.bincount(self.population.channel, rate, len(self.population.areas)) * STEP_S
        if step % BLOCK == 0:
            self.drawn = self.rng.random((BLOCK, len(expected)))
        return (self.drawn[step % BLOCK] < -np.expm1(-expected)).astype(np.uint8)
