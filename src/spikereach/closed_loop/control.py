"""A checkpoint in the loop: the brain of its session, its gain, and how well it controls."""

from dataclasses import dataclass

import numpy as np

from spikereach.api import Stream, decode
from spikereach.closed_loop.brain import Feedback
from spikereach.closed_loop.errors import LoopError
from spikereach.closed_loop.loop import Played, play
from spikereach.closed_loop.task import Rules
from spikereach.config.sessions import Session
from spikereach.data.binning import BinnedSession
from spikereach.data.matfile import STEP_S
from spikereach.data.population import Population, population
from spikereach.data.synthetic import MEAN_SPIKES
from spikereach.evaluation.evaluate import input_channels
from spikereach.models.checkpoint import Checkpoint
from spikereach.ops.common.threads import one_thread


def brain_of(binned: BinnedSession, seed: int) -> Population:
    """The units of a synthetic session.

    Args:
        binned: as `generate` made it, with its whole length.
        seed: ``synthetic.seed`` of the configuration it was made with.
    Raises:
        LoopError: it is no synthetic session, or was made with another seed.
    """
    if binned.monkey not in MEAN_SPIKES:
        raise LoopError(
            f"session {binned.name} is of monkey {binned.monkey}, whose brain cannot be driven: "
            "close the loop on a synthetic session (source: synthetic), whose units are known"
        )
    areas = {area: binned.areas.count(area) for area in dict.fromkeys(binned.areas)}
    session = Session(binned.name, binned.monkey, areas)
    found, position = population(session, duration_s=len(binned.spikes) * STEP_S, seed=seed)
    if not np.array_equal(position.astype(np.float32), binned.position):
        raise LoopError(
            f"session {binned.name} was not made with synthetic.seed {seed}: give the "
            "configuration of the run that it comes from (--config)"
        )
    return found


@dataclass(frozen=True)
class InLoop:
    """A decoder ready for the loop."""

    checkpoint: Checkpoint
    population: Population
    columns: np.ndarray
    """Channels of the session that it reads."""
    gain: float
    """Factor of its velocities."""

    @property
    def lookahead(self) -> int:
        """In steps."""
        return self.checkpoint.decoder.timing.lookahead

    def play(
        self, *, feedback: Feedback, rules: Rules, added_delay: int = 0, seed: int = 0
    ) -> Played:
        """Trials of a user with a fresh stream of the decoder."""
        stream = Stream(self.checkpoint)
        with one_thread():  # sums in one order, whatever the machine
            return play(
                self.population,
                lambda spikes: self.gain * stream(spikes[self.columns]).astype(np.float64),
                lookahead=self.lookahead,
                added_delay=added_delay,
                feedback=feedback,
                rules=rules,
                seed=seed,
            )


def in_loop(checkpoint: Checkpoint, binned: BinnedSession, seed: int) -> InLoop:
    """A decoder with the brain of its session, and the gain that fits its training part best.

    Args:
        checkpoint: of a decoder that reads this session.
        binned: synthetic.
        seed: as of :func:`brain_of`.
    Raises:
        LoopError: as :func:`brain_of` and :func:`gain_of`.
        EvaluationError: the session has not as many channels as the decoder reads.
    """
    brain, columns = brain_of(binned, seed), input_channels(checkpoint, binned)
    return InLoop(checkpoint, brain, columns, gain_of(checkpoint, binned, columns))


def gain_of(checkpoint: Checkpoint, binned: BinnedSession, columns: np.ndarray) -> float:
    """The factor that fits a decoder's velocities on the training part best, by least squares.

    Args:
        checkpoint: of the decoder.
        binned: the session.
        columns: channels of it that the decoder reads.
    Raises:
        LoopError: the decoder gives no velocity.
    """
    part = binned.split("neurobench").train
    with one_thread():
        decoded = decode(checkpoint, binned.spikes[part.start : part.stop, columns])
    decoded = decoded.astype(np.float64)
    true = binned.velocity[part.start : part.stop]
    power = float((decoded**2).sum())
    if not power:
        raise LoopError(
            f"{checkpoint.system_name} decodes no movement on the training part of {binned.name}: "
            "train it before it is put into the loop"
        )
    return float((decoded * true).sum()) / power
