"""Random numbers of a training, by purpose and time."""

import math

import numpy as np

from spikereach.config import Stage
from spikereach.identity import digest


class RandomStreams:
    """Independent random streams, each a pure function of seed, stage, purpose and time."""

    PURPOSES = ("weights", "initialise", "order", "dropout")

    def __init__(self, seed: int, stage: Stage | None):
        self.entropy = [seed, int(digest({} if stage is None else stage), 16)]

    def number(self, purpose: str, *when: int) -> int:
        """A seed of 63 bits."""
        return int(self._sequence(purpose, when).generate_state(1, np.uint64)[0] >> 1)

    def generator(self, purpose: str, *when: int) -> np.random.Generator:
        return np.random.default_rng(self._sequence(purpose, when))

    def order(self, windows: int, drawn: int, epoch: int) -> np.ndarray:
        """``drawn`` window numbers of an epoch; none comes twice before all have come once."""
        generator = self.generator("order", epoch)
        rounds = math.ceil(drawn / windows)
        return np.concatenate([generator.permutation(windows) for _ in range(rounds)])[:drawn]

    def _sequence(self, purpose: str, when: tuple[int, ...]) -> np.random.SeedSequence:
        key = (self.PURPOSES.index(purpose), *when)
        return np.random.SeedSequence(self.entropy, spawn_key=key)
