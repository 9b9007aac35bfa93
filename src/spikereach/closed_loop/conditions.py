"""What is played for the table and the figure: tasks, states of S1, delays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from spikereach.closed_loop.brain import Feedback
from spikereach.closed_loop.control import brain_of, in_loop
from spikereach.closed_loop.loop import Played, play
from spikereach.closed_loop.measures import control
from spikereach.closed_loop.recalibration import recalibrated
from spikereach.closed_loop.task import Rules
from spikereach.config import Stage
from spikereach.data.binning import BinnedSession
from spikereach.evaluation.records import Control, Loop, Recalibrated
from spikereach.models.checkpoint import Checkpoint

STEP_MS = 4


class Settings(TypedDict):
    architecture: str | None
    """Of the decoder; None: the arm itself."""
    trials: int
    """Per condition."""
    added_delays_ms: list[int]
    """On random targets with a moving arm."""
    synthetic_seed: int
    """Of the session."""
    recalibration: dict[str, Any] | None
    """``trials`` and ``stage`` as `config.Recalibration` has them; None: none."""


def played_by_arm(binned: BinnedSession, seed: int, settings: Settings, provenance: Any) -> Loop:
    """The ideal user: the arm itself moves the cursor, in both tasks, and delayed.

    Raises:
        LoopError: as :func:`.brain_of`.
    """
    brain = brain_of(binned, settings["synthetic_seed"])
    found = [
        _measured(
            play(brain, None, rules=rules, added_delay=delay, seed=seed), rules, "moving", delay
        )
        for rules, _, delay in _conditions(settings)
    ]
    about = {"system": "arm", "session": binned.name, "seed": seed}
    return Loop(**about, gain=1, lookahead_ms=0, controls=tuple(found), provenance=provenance)


def played_by_decoder(
    checkpoint: Checkpoint,
    binned: BinnedSession,
    seed: int,
    settings: Settings,
    provenance: Any,
    resume: Path,
) -> Loop:
    """A decoder in both tasks; with S1 silent, or hearing of the cursor, where it reads S1; and
    delayed; and on random targets once more after its recalibration, whose state is kept in the
    folder ``resume``.

    Raises:
        LoopError: as :func:`.in_loop` and :func:`.recalibrated`.
        TrainingError: as :func:`.recalibrated`.
    """
    decoder = in_loop(checkpoint, binned, settings["synthetic_seed"])
    conditions = _conditions(settings, ("silent", "seen") if "S1" in checkpoint.areas else ())
    found = [
        _measured(
            decoder.play(feedback=feedback, rules=rules, added_delay=delay, seed=seed),
            rules,
            feedback,
            delay,
        )
        for rules, feedback, delay in conditions
    ]
    again = None
    if settings["recalibration"] is not None:
        recipe = settings["recalibration"]
        stage = Stage.model_validate(recipe["stage"])
        later = recalibrated(decoder, binned, recipe["trials"], stage, seed=seed, resume=resume)
        rules, feedback, delay = conditions[0]
        played = later.play(feedback=feedback, rules=rules, added_delay=delay, seed=seed)
        measures = _measured(played, rules, feedback, delay).model_dump()
        again = Recalibrated(gain=later.gain, **measures)
    return Loop(
        system=checkpoint.system_name,
        session=binned.name,
        seed=seed,
        gain=decoder.gain,
        lookahead_ms=decoder.lookahead * STEP_MS,
        controls=tuple(found),
        recalibrated=again,
        provenance=provenance,
    )


def _conditions(
    settings: Settings, of_s1: Sequence[Feedback] = ()
) -> list[tuple[Rules, Feedback, int]]:
    """Rules, what S1 hears of, and steps of added delay."""
    random, centre_out = (Rules(kind, settings["trials"]) for kind in ("random", "centre-out"))
    return [
        (random, "moving", 0),
        (centre_out, "moving", 0),
        *((random, feedback, 0) for feedback in of_s1),
        *((random, "moving", ms // STEP_MS) for ms in settings["added_delays_ms"]),
    ]


def _measured(played: Played, rules: Rules, feedback: Feedback, delay: int) -> Control:
    return control(played.trials, rules, feedback=feedback, added_delay=delay)
