"""Recalibration: a decoder trained further on what a user did with it (Gilja et al. 2012)."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from spikereach.closed_loop.control import InLoop, gain_of
from spikereach.closed_loop.errors import LoopError
from spikereach.closed_loop.loop import Played
from spikereach.closed_loop.task import Rules
from spikereach.compression import compress
from spikereach.config import Retrain, Stage, System, Training
from spikereach.data.binning import BinnedSession
from spikereach.data.errors import SessionError
from spikereach.data.matfile import STEP_S
from spikereach.models.checkpoint import Checkpoint
from spikereach.models.decoder import Decoder
from spikereach.ops.common.threads import one_thread
from spikereach.training.fit import fit
from spikereach.training.losses import weight_matrices


@one_thread()
def recalibrated(
    decoder: InLoop,
    binned: BinnedSession,
    trials: int,
    stage: Stage,
    *,
    seed: int,
    resume: Path,
) -> InLoop:
    """A decoder trained further, on trials of a user with it beside its session.

    Of the trials, velocities are those :func:`intended`. What is fitted in closed form is fitted
    anew. A fixed-point decoder stays on its grid, by its last step with this stage; one in half
    precision is rounded again; what was pruned stays zero.

    Args:
        decoder: stays as it is.
        binned: the session that it was trained on.
        trials: random targets, with a moving arm. Of trials and session alike, the test part (the
            last quarter) is not trained on.
        stage: of the training.
        seed: of the training. Targets and noise are none that a seed of 0 or more gives.
        resume: folder for the state of the training, which the caller removes.
    Raises:
        LoopError: the trials are too few for the stage, or the decoder can be neither trained nor
            fitted.
        TrainingError: the training exploded.
    """
    checkpoint = decoder.checkpoint
    rules = Rules("random", trials)
    played = decoder.play(feedback="moving", rules=rules, seed=-1 - seed)
    scale, offset = map(np.array, checkpoint.decoder.standardisation)
    sessions = [
        # In the decoder's own unit, so that a training keeps its scale and offset.
        dataclasses.replace(each, velocity=((each.velocity - offset) / scale).astype(np.float32))
        for each in (binned, as_session(played, decoder, rules))
    ]
    about: dict[str, Any] = {"system_name": checkpoint.system_name, "seed": seed}
    closed_form = type(checkpoint.decoder).fit_closed_form is not Decoder.fit_closed_form
    system = _further(checkpoint, None if closed_form else stage)
    try:
        if closed_form:
            about |= {"dataset": checkpoint.dataset, "stage": "finetune"}
            made, _ = fit(system, sessions, **about)
        else:
            begun = dataclasses.replace(checkpoint, system=system)
            about |= {"resume": resume, "device": "cpu", "progress": False}
            made, _ = compress(begun, sessions, system, mask=_pruned(checkpoint), **about)
    except SessionError as error:
        raise LoopError(
            f"closed_loop.recalibration.trials: {trials} are too few to train on ({error})"
        ) from error
    made.decoder.standardisation = checkpoint.decoder.standardisation
    later = dataclasses.replace(checkpoint, decoder=made.decoder)
    gain = gain_of(later, binned, decoder.columns)
    return dataclasses.replace(decoder, checkpoint=later, gain=gain)


def intended(played: Played, width_mm: float) -> np.ndarray:
    """What the user is taken to have wanted of the cursor: velocity (T, 2) in mm/s.

    The cursor's own, turned towards the target at the same speed; none while the cursor is in the
    target (ReFIT; Gilja et al. 2012, Nat. Neurosci. 15, 1752).
    """
    way = played.target - played.cursor
    inside = np.abs(way).max(axis=1) < width_mm / 2
    distance = np.where(inside, 1, np.hypot(*way.T))
    speed = np.where(inside, 0, np.hypot(*played.decoded.T))
    return way * (speed / distance)[:, None]


def as_session(played: Played, decoder: InLoop, rules: Rules) -> BinnedSession:
    """Trials as what a decoder is trained on, a segment each.

    A decoder that looks ahead moves the cursor later by that: intentions come forward to the bins
    that its velocities belong to.
    """
    steps = len(played.cursor) - decoder.lookahead
    velocity = intended(played, rules.width_mm)[decoder.lookahead :] * STEP_S
    ends = [trial.first + trial.steps for trial in played.trials]
    bounds = np.minimum([0, *ends], steps)
    return BinnedSession(
        name=f"{decoder.checkpoint.dataset} in the loop",
        monkey=decoder.checkpoint.monkey,
        spikes=played.spikes[:steps],
        velocity=velocity.astype(np.float32),
        position=played.cursor[decoder.lookahead :].astype(np.float32),
        areas=decoder.population.areas,
        start_s=0.0,
        segments=np.stack([bounds[:-1], bounds[1:]], axis=1),
        provenance={"source": "the closed loop"},
    )


def _further(checkpoint: Checkpoint, stage: Stage | None) -> System:
    """The checkpoint's system with this training; None: in closed form. Its only compression is
    what brings numbers back into the checkpoint's format."""
    quantising = [step for step in checkpoint.system.compression if step.formats is not None]
    if quantising and stage is None:
        raise LoopError(
            f"{checkpoint.system_name} is fitted in closed form and {quantising[0].kind} after it, "
            "and cannot be fitted anew as it is: recalibrate the system that it starts from"
        )
    steps = [
        step.model_copy(update={"retrain": stage}) if step.retrainings else step
        for step in quantising
    ]
    if stage is not None and not any(step.retrainings for step in steps):
        steps.insert(0, Retrain(kind="retrain", retrain=stage))
    # The session's velocities are in the decoder's unit already.
    training = Training(split="neurobench", standardise=False, pretrain=None, finetune=stage)
    changes = {"training": training, "base": None, "weights": None, "compression": tuple(steps)}
    return checkpoint.system.model_copy(update=changes)


def _pruned(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """False where pruning has left a zero."""
    if not any(step.kind == "prune" for step in checkpoint.system.compression):
        return {}
    return {name: weight != 0 for name, weight in weight_matrices(checkpoint.decoder).items()}
