"""What of a training must survive a kill."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from spikereach.config import Stage
from spikereach.models import tensorfile
from spikereach.models.decoder import Decoder
from spikereach.models.tensorfile import CheckpointError
from spikereach.training.scoring import Sums

log = logging.getLogger(__name__)

KIND = "resume file"


class RunState:
    """Decoder, optimiser and progress of a run, and the file that keeps them.

    Args:
        decoder, optimiser: on ``device``; :meth:`restore` changes them in place.
        path: the file; written by :meth:`save` only.
        inputs: digest of all that the run depends on; a file of another digest is of another run.
    """

    def __init__(
        self,
        decoder: Decoder,
        optimiser: torch.optim.Optimizer,
        device: torch.device,
        path: Path,
        inputs: str,
    ):
        self.decoder, self.optimiser, self.device = decoder, optimiser, device
        self.path, self.inputs = Path(path), inputs
        self.epoch = 0
        self.update = 0
        """Updates done in the current epoch."""
        self.sums = Sums(device)
        """Of the current epoch's updates."""
        self.rows: list[dict] = []
        """One per closed epoch."""
        self.best: dict[str, Tensor] = {}
        """The weights of the best one."""

    def end_update(self, prediction: Tensor, target: Tensor) -> None:
        """Count an update and what it predicted, (window, B, 2)."""
        self.sums.add(prediction, target)
        self.update += 1

    def end_epoch(self, row: dict) -> None:
        """Close the current epoch, keeping its weights if its validation R2 is the best; save."""
        if all(row["val_r2"] > earlier["val_r2"] for earlier in self.rows):
            self.best = {key: value.clone() for key, value in self.decoder.state_dict().items()}
        self.rows.append(row)
        self.epoch += 1
        self.update = 0
        self.sums.values.zero_()
        self.save()

    def finished(self, stage: Stage) -> bool:
        """Whether all epochs are done, or the last ``patience`` brought no better validation R2."""
        if self.epoch >= stage.epochs:
            return True
        if stage.patience is None or not self.rows:
            return False
        scores = [row["val_r2"] for row in self.rows]
        return len(scores) - 1 - scores.index(max(scores)) >= stage.patience

    def save(self) -> None:
        """Write the file; an earlier one stays until this one is complete."""
        tensors = {"sums": self.sums.values}
        tensors |= {f"decoder/{key}": value for key, value in self.decoder.state_dict().items()}
        tensors |= {f"best/{key}": value for key, value in self.best.items()}
        for index, entries in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{key}": value for key, value in entries.items()}
        metadata = {key: getattr(self, key) for key in ("inputs", "epoch", "update", "rows")}
        tensorfile.write(self.path, KIND, tensors, metadata)

    def restore(self) -> None:
        """Continue from the file where it is there, intact and of the same inputs."""
        if not self.path.exists():
            return
        try:
            tensors, metadata = tensorfile.read(self.path, KIND)
        except CheckpointError as error:
            log.warning("training starts anew: %s", error)
            return
        if metadata["inputs"] != self.inputs:
            log.warning(
                "training starts anew: %s belongs to other data, settings or seed", self.path
            )
            return
        self.decoder.load_state_dict(_below(tensors, "decoder"))
        self.best = {key: value.to(self.device) for key, value in _below(tensors, "best").items()}
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, "optimiser").items():
            index, field = key.split("/")
            entries.setdefault(int(index), {})[field] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": entries, "param_groups": groups})
        self.sums.values.copy_(tensors["sums"])
        self.epoch, self.update = metadata["epoch"], metadata["update"]
        self.rows = metadata["rows"]


def _below(tensors: Mapping[str, Tensor], folder: str) -> dict[str, Tensor]:
    prefix = folder + "/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
