"""Compression: a chain of configured steps from a trained checkpoint to a compressed one.

A step is a model in `spikereach.config` and the module here that its ``kind`` names, with a
function ``apply(run, step)``.
"""

import copy
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from torch import Tensor

from spikereach.config import Stage, System
from spikereach.data.binning import BinnedSession
from spikereach.models.checkpoint import Checkpoint
from spikereach.training import loop
from spikereach.training.errors import TrainingError
from spikereach.training.state import selected

COLUMNS = ("step", "sparsity", *loop.COLUMNS)
"""Of a compression's history: one row per epoch. ``step`` is its number and kind, ``sparsity``
the fraction of weights that pruning tries (0 elsewhere)."""


@dataclass
class Run:
    """What the steps of one compression share: the decoder, its mask, and how it is retrained."""

    name: str
    checkpoint: Checkpoint
    sessions: Sequence[BinnedSession]
    options: dict[str, Any]
    """As for :func:`compress`."""
    step: str = ""
    """Number and kind of the step under way."""
    mask: dict[str, Tensor] = field(default_factory=dict)
    """Parameter name -> False where a weight was pruned."""
    histories: list[pd.DataFrame] = field(default_factory=list)

    train_r2: float | None = field(init=False)
    """Of the last training's selected epoch, in the training loop."""

    def __post_init__(self):
        self.train_r2 = self.checkpoint.train_r2
        self.decoder = copy.deepcopy(self.checkpoint.decoder).to(self.options["device"])
        if self.decoder.weight_format == "float16":  # it is trained in what it was rounded from
            self.decoder.float()
            self.decoder.weight_format = self.decoder.buffer_format = "float32"

    def retrain(self, stage: Stage, *, sparsity: float = 0.0) -> None:
        """Train the decoder in place under the mask, resumable."""
        label = f"{self.step}-{sparsity:.3f}" if sparsity else self.step
        system = self.checkpoint.system
        options = self.options | {"resume": self.options["resume"] / f"{label}.safetensors"}
        if options.get("events") is not None:
            options["events"] /= label
        history = loop.train(
            self.decoder,
            self.sessions,
            stage=stage,
            mask=self.mask,
            name=f"{self.name}, {label}",
            training=system.training,
            areas=system.areas,
            **options,
        )
        self.train_r2 = selected(history.to_dict("records"), stage)["train_r2"]
        self.histories.append(history.assign(step=self.step, sparsity=sparsity)[list(COLUMNS)])


def compress(
    checkpoint: Checkpoint,
    sessions: Sequence[BinnedSession],
    system: System,
    *,
    system_name: str,
    seed: int,
    mask: dict[str, Tensor] | None = None,
    **options: Any,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Apply a system's compression steps in order; the checkpoint given stays as it is.

    Weights that a step prunes stay zero in every later one.

    Args:
        checkpoint: trained; its system says on which split to retrain. Numbers of one that is
            quantised already are where its retraining begins.
        sessions: that it was trained on.
        system: the compressed one. It has the architecture, the sizes and the areas of the
            checkpoint, whatever its entry says.
        system_name: its name in the configuration.
        seed: of the retrainings.
        mask: parameter name -> False where a weight is zero and stays so.
        options: device, progress and events, as :func:`.train` takes them, and resume: the folder
            for the state of each retraining. Finished ones are not repeated. The caller removes it.
    Returns:
        the compressed system's checkpoint and the history, with columns :data:`COLUMNS`.
    Raises:
        TrainingError: a retraining exploded, or the checkpoint cannot be retrained.
        WriteError: a resume file cannot be written.
    """
    name = f"{system_name} on {checkpoint.dataset}, seed {seed}"
    if checkpoint.system.training is None:
        raise TrainingError(
            f"{name}: the system has no `training`: compress the checkpoint of its base"
        )
    run = Run(name, checkpoint, sessions, {"seed": seed, **options}, mask=mask or {})
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
        train_r2=run.train_r2,
    )
    return compressed, history
