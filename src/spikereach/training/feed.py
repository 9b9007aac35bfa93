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
    decoder: Decoder, sessions: Sequence[BinnedSession], training: Training, areas: Sequence[str]
) -> None:
    """Set the decoder's output scale and offset from the sessions' training parts.

    Raises:
        TrainingError: a session has another number of channels in these areas than the decoder.
    """
    for session in sessions:
        found = len(session.channels(areas))
        if found != decoder.channels:
            raise TrainingError(
                f"{session.name} has {found} channels in {', '.join(areas)}, the decoder reads "
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


class Batches:
    """The batches of every epoch, each a function of the epoch and its number.

    Args:
        windows: to draw from, without repetition until all have come once.
        stage: how many, of which size, with which jitter.
        random: whose streams "order" and "jitter" are drawn from.
        decoder: targets are standardised as its outputs are.
        device: where the batches are wanted.
    """

    def __init__(
        self,
        windows: Windows,
        stage: Stage,
        random: RandomStreams,
        decoder: Decoder,
        device: torch.device,
    ):
        self.stage, self.random = stage, random
        self.windows = len(windows)
        self.drawn = (stage.updates_per_epoch or 0) * stage.batch or self.windows
        self.epoch = -1
        self.cut = (windows if device.type == "cpu" else OnDevice(windows, device)).batch
        self.offset = torch.tensor(decoder.standardisation.offset, device=device)
        self.scale = torch.tensor(decoder.standardisation.scale, device=device)

    def __len__(self) -> int:
        """Per epoch."""
        return math.ceil(self.drawn / self.stage.batch)

    def batch(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Spikes (window, B, C) as bytes and standardised velocity (window, B, 2)."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = self.random.order(self.windows, self.drawn, epoch)
        indices = self.order[number * self.stage.batch : (number + 1) * self.stage.batch]
        rng = self.random.generator("jitter", epoch, number)
        cut = self.cut(indices, jitter=self.stage.jitter, rng=rng)
        spikes, velocity = map(torch.as_tensor, cut)
        return spikes, (velocity - self.offset) / self.scale


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

    def batch(
        self, indices: Sequence[int], *, jitter: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Spikes (window, B, C) and velocity (window, B, 2), as `Windows.batch` has them."""
        owners, starts = self.windows.locate(indices, jitter, rng)
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
