"""What the steps of one compression share: the decoder, its mask, and how it is retrained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from torch import Tensor

from spikereach import config
from spikereach.data.binning import BinnedSession
from spikereach.models.checkpoint import Checkpoint
from spikereach.training import loop
from spikereach.training.scoring import score

COLUMNS = ("step", "sparsity", *loop.COLUMNS)
"""Of a compression's history: one row per epoch. ``step`` is its number and kind, ``sparsity``
the fraction of weights that pruning tries (0 elsewhere)."""


@dataclass
class Run:
    """A compression under way; arguments as for :func:`spikereach.compression.compress`."""

    name: str
    checkpoint: Checkpoint
    sessions: Sequence[BinnedSession]
    seed: int
    resume: Path
    device: str
    progress: bool
    events: Path | None
    step: str = ""
    """Number and kind of the step under way."""
    mask: dict[str, Tensor] = field(default_factory=dict)
    """Parameter name -> False where a weight was pruned."""
    histories: list[pd.DataFrame] = field(default_factory=list)

    def __post_init__(self):
        self.decoder = copy.deepcopy(self.checkpoint.decoder).to(loop.device_of(self.device))
        system = self.checkpoint.system
        self.reads = {"training": system.training, "areas": system.areas}

    def retrain(self, stage: config.Stage, *, sparsity: float = 0.0) -> None:
        """Train the decoder in place under the mask, resumable."""
        label = f"{self.step}-{sparsity:.3f}" if sparsity else self.step
        history = loop.train(
            self.decoder,
            self.sessions,
            stage=stage,
            **self.reads,
            seed=self.seed,
            resume=self.resume / f"{label}.safetensors",
            device=self.device,
            progress=self.progress,
            events=None if self.events is None else self.events / label,
            mask=self.mask,
            name=f"{self.name}, {label}",
        )
        self.histories.append(history.assign(step=self.step, sparsity=sparsity)[list(COLUMNS)])

    def train_r2(self) -> float:
        """R2 over the continuous training part, in evaluation mode."""
        return score(self.decoder, self.sessions, part="train", **self.reads)[1]
