"""The simulated brain: from the velocity that the user wants to spikes."""

import math
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


class Brain:
    """A population that fires with what the user wants.

    Args:
        population: of a synthetic session.
        feedback: of S1.
        steps: in all that it will be asked for.
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
            [area.private_noise * smooth_noise((2, steps), PRIVATE_S, rng) for area in areas],
            axis=1,
        )
        self.shared = np.stack(
            [smooth_noise((SHARED, steps), SHARED_S, rng) for _ in areas], axis=2
        )
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
        self.encoded = np.zeros((4, len(areas), self.start + steps))
        # Of each unit at step 0, in a component of all areas.
        self.place = self.area * (self.start + steps) + self.start - lag
        self.follows = [feedback == "moving" or name != "S1" for name in names]
        self.step = 0

    def __call__(self, wanted: np.ndarray, believed: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Spikes (T, C) uint8 of the next T bins.

        Args:
            wanted: velocities (T, 2) in mm/s.
            believed: positions (T, 2) in mm where the user takes the cursor to be.
            seen: velocities (T, 2) of the cursor in mm/s that the user sees.
        """
        steps = np.arange(self.step, self.step + len(wanted))
        self.step += len(wanted)
        for area, follows in enumerate(self.follows):
            velocity, position = wanted, believed
            if not follows:
                velocity = seen if self.feedback == "seen" else np.zeros_like(seen)
                position = believed if self.feedback == "seen" else np.zeros_like(believed)
            now = self.encoded[:, area, self.start + steps[0] : self.start + self.step]
            now[:2] = velocity.T / VELOCITY_MM_S + self.error[:, area, steps]
            now[2:] = position.T / POSITION_MM
        x, y, px, py = self.encoded.reshape(4, -1).take(self.place + steps[:, None], axis=1)
        shared = self.shared[:, steps].take(self.area, axis=2)
        rate = relative_rate(self.population.units, x, y, px, py, shared)
        rate *= self.population.rate_hz * self.arousal[steps, None]
        shape = len(steps), len(self.population.areas)
        channel = np.arange(len(steps))[:, None] * shape[1] + self.population.channel
        expected = np.bincount(channel.ravel(), rate.ravel(), math.prod(shape)) * STEP_S
        drawn = self.rng.random(shape)
        return (drawn < -np.expm1(-expected.reshape(shape))).astype(np.uint8)
