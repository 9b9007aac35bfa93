"""What of a training must survive a kill."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from spikereach.config import Stage, Training
from spikereach.data.binning import BinnedSession
from spikereach.identity import array_checksum
from spikereach.models import tensorfile
from spikereach.models.decoder import Decoder
from spikereach.models.tensorfile import CheckpointError
from spikereach.ops.common.record import Record
from spikereach.training.activity import Activity
from spikereach.training.scoring import BatchMeans

log = logging.getLogger(__name__)

KIND = "resume file"


def selected(rows: Sequence[dict], stage: Stage | None) -> dict:
    """The row of the epoch whose weights are kept, of one or more; None is a closed form."""
    if stage is None or stage.select == "last":
        return rows[-1]
    if stage.select == "best_loss":
        return min(rows, key=lambda row: row["val_loss"])
    return max(rows, key=lambda row: row["val_r2"])


@dataclass(eq=False)
class RunState:
    """Decoder, optimiser and progress of a run, and the file that keeps them.

    It begins where the file ends, if that is there, intact and of the same inputs.
    """

    decoder: Decoder
    """On ``device``, as the optimiser; both are changed in place."""
    optimiser: torch.optim.Optimizer
    device: torch.device
    stage: Stage
    path: Path
    """The file; written by :meth:`save` only."""
    inputs: str
    """Digest of all that the run depends on; a file of another digest is of another run."""
    epoch: int = 0
    update: int = 0
    """Updates done in the current epoch."""
    rows: list[dict] = field(default_factory=list)
    """One per closed epoch."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """The weights of the best one, where the stage selects it."""

    def __post_init__(self):
        self.means = BatchMeans(self.device)  # of the current epoch's updates
        self.activity = Activity(self.device)
        self._restore()

    def end_update(self, prediction: Tensor, target: Tensor, record: Record) -> None:
        """Count an update, what it predicted, (..., 2), and what spiked."""
        self.means.add(prediction, target, self.stage.loss)
        self.activity.add(record.spikes)
        self.update += 1

    def end_epoch(self, row: dict) -> None:
        """Close the current epoch, keeping its weights if it is the best; save."""
        self.rows.append(row)
        if self.stage.select != "last" and selected(self.rows, self.stage) is row:
            self.best = {key: value.clone() for key, value in self.decoder.state_dict().items()}
        self.epoch += 1
        self.update = 0
        self.means.values.zero_()
        self.activity.clear()
        self.save()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last ``patience`` brought no better one."""
        if self.epoch >= self.stage.epochs:
            return True
        if self.stage.patience is None or not self.rows:
            return False
        return self.epoch - selected(self.rows, self.stage)["epoch"] >= self.stage.patience

    def end(self) -> None:
        """Give the decoder the weights that the stage selects, in evaluation mode."""
        if self.stage.select != "last":
            self.decoder.load_state_dict(self.best)
        self.decoder.eval()

    def save(self) -> None:
        """Write the file; an earlier one stays until this one is complete."""
        tensors = {"means": self.means.values}
        if self.activity.updates:
            tensors["activity"] = self.activity.shares
        tensors |= {f"decoder/{key}": value for key, value in self.decoder.state_dict().items()}
        tensors |= {f"best/{key}": value for key, value in self.best.items()}
        for index, entries in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{key}": value for key, value in entries.items()}
        metadata = {key: getattr(self, key) for key in ("inputs", "epoch", "update", "rows")}
        tensorfile.write(self.path, KIND, tensors, metadata)

    def _restore(self) -> None:
        if not self.path.exists():
            return
        try:
            tensors, metadata = tensorfile.read(self.path, KIND)
            if metadata["inputs"] != self.inputs:
                raise CheckpointError(f"{self.path} belongs to other data, settings or seed")
        except CheckpointError as error:
            log.warning("training starts anew: %s", error)
            return
        self.decoder.load_state_dict(_below(tensors, "decoder"))
        self.best = {key: value.to(self.device) for key, value in _below(tensors, "best").items()}
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, "optimiser").items():
            index, field = key.split("/")
            entries.setdefault(int(index), {})[field] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": entries, "param_groups": groups})
        self.means.values.copy_(tensors["means"])
        if "activity" in tensors:
            self.activity.shares, self.activity.updates = tensors["activity"], metadata["update"]
        self.epoch, self.update = metadata["epoch"], metadata["update"]
        self.rows = metadata["rows"]


def digest_of(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    training: Training,
    stage: Stage,
    areas: Sequence[str] | None,
    seed: int,
    device: torch.device,
    mask: Mapping[str, Tensor] | None,
) -> str:
    """What a run depends on; a resume file with another digest is of another run."""
    settings = {
        name: {
            key: repr(value)
            for key, value in vars(module).items()
            if key != "training" and isinstance(value, bool | int | float | str | tuple)
        }
        for name, module in decoder.named_modules()
    }
    arrays = {f"decoder/{name}": tensor for name, tensor in decoder.state_dict().items()}
    arrays |= {f"mask/{name}": kept for name, kept in (mask or {}).items()}
    for number, session in enumerate(sessions):
        for name in ("spikes", "velocity", "segments"):
            arrays[f"session{number}/{name}"] = getattr(session, name)
    metadata = {
        "decoder": type(decoder).__qualname__,
        "settings": settings,
        "sessions": [[session.name, session.areas] for session in sessions],
        "parts": [repr(session.split(training.split)) for session in sessions],
        "standardise": training.standardise,
        "stage": stage,
        "areas": areas,
        "seed": seed,
        "device": device.type,
        "torch": torch.__version__,
    }
    return array_checksum(arrays, metadata)


@contextmanager
def terminable(save: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Meets SIGTERM within; what it yields is called between two updates, where a run can stop.

    There it saves, then exits with 143. Only the main thread can handle signals; elsewhere this
    does nothing.
    """
    requests = []

    def check() -> None:
        if requests:
            save()
            log.warning("stopped by SIGTERM; run again to continue")
            raise SystemExit(128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    previous = signal.signal(signal.SIGTERM, lambda number, frame: requests.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _below(tensors: Mapping[str, Tensor], folder: str) -> dict[str, Tensor]:
    prefix = folder + "/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
