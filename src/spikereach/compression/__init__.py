"""Compression: a chain of configured steps from a trained checkpoint to a compressed one.

A step is a model in `spikereach.config` and the module here that its ``kind`` names, with a
function ``apply(run, step)``.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from spikereach.compression.run import COLUMNS, Run
from spikereach.config import Compression
from spikereach.data.binning import BinnedSession
from spikereach.models.checkpoint import Checkpoint
from spikereach.training.errors import TrainingError


def compress(
    checkpoint: Checkpoint,
    sessions: Sequence[BinnedSession],
    steps: Sequence[Compression],
    *,
    seed: int,
    resume: Path,
    device: str,
    progress: bool,
    events: Path | None = None,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Apply compression steps in order; the checkpoint given stays as it is.

    Weights that a step prunes stay zero in every later one.

    Args:
        checkpoint: trained, not yet quantised; its system says on which split to retrain.
        sessions: that it was trained on.
        steps: of the compressed system's configuration.
        seed: of the retrainings.
        resume: folder for the state of each retraining; finished ones are not repeated. The
            caller removes it.
        device: "auto", "cpu" or "cuda".
        progress: progress bars on stderr.
        events: folder for TensorBoard event files.
    Returns:
        the compressed checkpoint (with the system of the one given) and the history, with
        columns :data:`spikereach.compression.run.COLUMNS`.
    Raises:
        TrainingError: a retraining exploded, the checkpoint cannot be retrained, or a step
            follows one that quantises.
        CheckpointError: a resume file cannot be written.
    """
    run = Run(checkpoint, sessions, seed, resume, device, progress, events)
    if checkpoint.system.training is None:
        raise TrainingError(
            f"{run.name}: the system has no `training`: compress the checkpoint of its base"
        )
    for step, later in itertools.pairwise(steps):
        if step.formats is not None:
            raise TrainingError(
                f"{run.name}: `{later.kind}` would leave the numbers that `{step.kind}` rounded "
                f"to: put it before `{step.kind}`"
            )
    for number, step in enumerate(steps, start=1):
        run.step = f"{number}-{step.kind}"
        if step.formats is not None:
            run.decoder.fold()
        importlib.import_module(f"{__name__}.{step.kind}").apply(run, step)
    history = pd.concat([pd.DataFrame(columns=COLUMNS), *run.histories], ignore_index=True)
    return replace(checkpoint, decoder=run.decoder.cpu().eval(), seed=seed), history
