"""Sessions as a training reads them: standardised, in batches of windows, as tensors."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spikereach.config import Stage, Training
from spikereach.data.binning import BinnedSession
from spikereach.data.windows import Windows
from spikereach.models.decoder import Decoder, Standardisation
from spikereach.training.errors import TrainingError
from spikereach.training.seeds import RandomStreams


def prepare(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    training: Training,
    areas: Sequence[str] | None,
) -> None:
    """Set the decoder's output scale and offset from the sessions' training parts.

    Raises:
        TrainingError: a session has another number of channels in these areas than the decoder.
    """
    for session in sessions:
        found = len(session.channels(areas))
        if found != decoder.channels:
            raise TrainingError(
                f"{session.name} has {found} channels in the areas read, the decoder reads "
                f"{decoder.channels}: use a decoder trained on the same areas and electrodes"
            )
    offset, scale = np.zeros(2), np.ones(2)
    if training.standardise:
        parts = [session.split(training.split).train for session in sessions]
        velocity = np.concatenate(
            [s.velocity[p.start : p.stop] for s, p in zip(sessions, parts, strict=True)]
        ).astype(np.float64)
        offset, scale = velocity.mean(axis=0), velocity.std(axis=0)
    decoder.standardisation = Standardisation(tuple(scale.tolist()), tuple(offset.tolist()))


def windows_of(
    sessions: Sequence[BinnedSession],
    training: Training,
    stage: Stage,
    areas: Sequence[str] | None,
    *,
    validation: bool = False,
) -> Windows:
    """The windows that a stage is trained on, or where it is validated on windows, those.

    Raises:
        SessionError: as :class:`.Windows`.
    """
    part = "val" if validation else stage.part
    stride = (stage.validation_stride if validation else None) or stage.stride
    return Windows(
        sessions, part, training.split, areas, stage.window, stride, placement=stage.placement
    )


class Feed:
    """Windows as tensors: spikes as bytes, velocities standardised as a decoder's outputs are.

    Args:
        windows: to cut from.
        decoder: prepared.
        device: where they are wanted.
    """

    def __init__(self, windows: Windows, decoder: Decoder, device: torch.device):
        self.windows, self.device = windows, device
        self._cut = (windows if device.type == "cpu" else OnDevice(windows, device)).batch
        self._offset = torch.tensor(decoder.standardisation.offset, device=device)
        self._scale = torch.tensor(decoder.standardisation.scale, device=device)

    def __len__(self) -> int:
        return len(self.windows)

    def cut(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Spikes (window, B, C) and velocity (window, B, 2) of B windows."""
        spikes, velocity = map(torch.as_tensor, self._cut(indices))
        return spikes, (velocity - self._offset) / self._scale


class Batches:
    """The batches of every epoch, each a function of the epoch and its number.

    Args:
        feed: to draw from, without repetition until all windows have come once.
        stage: how many, of which size.
        random: whose stream "order" they are drawn from.
    Raises:
        TrainingError: not one batch is complete where incomplete ones are dropped.
    """

    def __init__(self, feed: Feed, stage: Stage, random: RandomStreams):
        self.feed, self.stage, self.random = feed, stage, random
        self.drawn = (stage.updates_per_epoch or 0) * stage.batch or len(feed)
        if stage.last_batch == "drop":
            self.drawn = self.drawn // stage.batch * stage.batch
        if not self.drawn:
            raise TrainingError(
                f"{len(feed)} windows are less than a `batch` of {stage.batch}, and "
                "`last_batch` says to drop it: take a smaller batch or stride, or keep it"
            )
        self.epoch = -1

    def __len__(self) -> int:
        """Per epoch."""
        return math.ceil(self.drawn / self.stage.batch)

    def batch(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """As :meth:`Feed.cut`."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = self.random.order(len(self.feed), self.drawn, epoch)
        indices = self.order[number * self.stage.batch : (number + 1) * self.stage.batch]
        return self.feed.cut(indices)


class OnDevice:
    """Cut on the device, where the sessions lie as bytes: only window numbers travel."""

    def __init__(self, windows: Windows, device: torch.device):
        self.windows = windows
        self.device = device
        self.spikes = [
            torch.from_numpy(session.spikes[:, columns]).to(device)
            for session, columns in zip(windows.sessions, windows.columns, strict=True)
        ]
        self.velocity = [torch.from_numpy(s.velocity).to(device) for s in windows.sessions]

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Spikes (window, B, C) and velocity (window, B, 2), as `Windows.batch` has them."""
        owners, starts = self.windows.locate(indices)
        window, size = self.windows.window, len(starts)
        steps = self._send(starts) + torch.arange(window, device=self.device)[:, None]
        spikes = torch.empty(
            window, size, self.windows.channels, dtype=torch.uint8, device=self.device
        )
        velocity = torch.empty(window, size, 2, device=self.device)
        for owner in np.unique(owners):
            columns = self._send(np.flatnonzero(owners == owner))
            spikes[:, columns] = self.spikes[owner][steps[:, columns]]
            velocity[:, columns] = self.velocity[owner][steps[:, columns]]
        return spikes, velocity

    def _send(self, numbers: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(numbers)
        if self.device.type == "cuda":  # a copy from pinned memory does not wait for earlier work
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)
