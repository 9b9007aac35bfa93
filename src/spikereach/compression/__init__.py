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
from spikereach.config import System
from spikereach.data.binning import BinnedSession
from spikereach.models.checkpoint import Checkpoint
from spikereach.training.errors import TrainingError


def compress(
    checkpoint: Checkpoint,
    sessions: Sequence[BinnedSession],
    system: System,
    *,
    system_name: str,
    seed: int,
    resume: Path,
    device: str,
    progress: bool,
    events: Path | None = None,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Apply a system's compression steps in order; the checkpoint given stays as it is.

    Weights that a step prunes stay zero in every later one.

    Args:
        checkpoint: trained, not yet quantised; its system says on which split to retrain.
        sessions: that it was trained on.
        system: the compressed one. It has the architecture, the sizes and the areas of the
            checkpoint, whatever its entry says.
        system_name: its name in the configuration.
        seed: of the retrainings.
        resume: folder for the state of each retraining; finished ones are not repeated. The
            caller removes it.
        device: "auto", "cpu" or "cuda".
        progress: progress bars on stderr.
        events: folder for TensorBoard event files.
    Returns:
        the compressed system's checkpoint and the history, with columns
        :data:`spikereach.compression.run.COLUMNS`.
    Raises:
        TrainingError: a retraining exploded, the checkpoint cannot be retrained, or a step
            follows one that quantises.
        WriteError: a resume file cannot be written.
    """
    name = f"{system_name} on {checkpoint.dataset}, seed {seed}"
    if checkpoint.system.training is None:
        raise TrainingError(
            f"{name}: the system has no `training`: compress the checkpoint of its base"
        )
    for step, later in itertools.pairwise(system.compression):
        if step.formats is not None:
            raise TrainingError(
                f"{name}: `{later.kind}` would leave the numbers that `{step.kind}` rounded "
                f"to: put it before `{step.kind}`"
            )
    run = Run(name, checkpoint, sessions, seed, resume, device, progress, events)
    for number, step in enumerate(system.compression, start=1):
        run.step = f"{number}-{step.kind}"
        if step.formats is not None:
            run.decoder.fold()
        importlib.import_module(f"{__name__}.{step.kind}").apply(run, step)
    history = pd.concat([pd.DataFrame(columns=COLUMNS), *run.histories], ignore_index=True)
    trained = {key: getattr(checkpoint.system, key) for key in ("architecture", "sizes", "areas")}
    compressed = replace(
        checkpoint,
        decoder=run.decoder.cpu().eval(),
        system=system.model_copy(update=trained),
        system_name=system_name,
        seed=seed,
    )
    return compressed, history
