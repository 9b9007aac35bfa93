"""Loss and R2 of a decoder, in constant memory."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from spikereach.config import Stage, Training
from spikereach.data.binning import BinnedSession
from spikereach.models.decoder import Decoder, device_of
from spikereach.models.passes import PassError, as_input, in_pieces, usable_steps
from spikereach.training.errors import TrainingError
from spikereach.training.feed import Feed

ROUNDING = 1e-12
"""A variance below this share of the mean square is none."""
PIECE = 2**15
"""Steps decoded per call in :func:`score`; bounds its memory."""


class Sums:
    """Running sums behind loss and R2, kept on the device so that nobody waits for it."""

    def __init__(self, device: torch.device):
        # steps; sum of targets, sum of their squares, sum of squared errors: x and y each
        self.values = torch.zeros(7, dtype=torch.float64, device=device)

    def add(self, prediction: Tensor, target: Tensor) -> None:
        """Add steps of any shape (..., 2)."""
        prediction, target = (each.double().reshape(-1, 2) for each in (prediction, target))
        self.values[0] += len(target)
        self.values[1:3] += target.sum(0)
        self.values[3:5] += target.square().sum(0)
        self.values[5:7] += (prediction - target).square().sum(0)

    def loss_and_r2(self, loss: str) -> Tensor:
        """The loss over all steps, and R2 as NeuroBench: the mean of the x and the y R2, (2,).

        R2 is no finite number where a velocity does not vary.
        """
        steps, total, squares, errors = self.values.split([1, 2, 2, 2])
        mse = errors.mean() / steps
        spread = squares - total.square() / steps
        varies = spread > ROUNDING * squares
        r2 = (1 - errors / torch.where(varies, spread, 0)).mean()
        return torch.cat([mse if loss == "mse" else mse.sqrt(), r2[None]])


class BatchMeans:
    """Plain means over batches of loss and R2, kept on the device so that nobody waits for it."""

    def __init__(self, device: torch.device):
        # loss and R2; batches, and those of them in which the velocity varies
        self.values = torch.zeros(4, dtype=torch.float64, device=device)

    def add(self, prediction: Tensor, target: Tensor, loss: str) -> None:
        """Add a batch of any shape (..., 2); a small one counts as much as a large one."""
        sums = Sums(self.values.device)
        sums.add(prediction, target)
        found = sums.loss_and_r2(loss)
        known = found.isfinite()
        known[0] = True
        self.values[:2] += torch.where(known, found, 0)
        self.values[2:] += known

    def loss_and_r2(self) -> tuple[float, float]:
        """R2 is NaN where in no batch a velocity varies."""
        loss, r2, batches, varying = self.values.tolist()
        return loss / batches, r2 / varying if varying else math.nan


@torch.no_grad()
def score(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    *,
    part: str,
    training: Training,
    areas: Sequence[str] | None,
    loss: str = "mse",
    between: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Loss (on standardised velocities) and R2 of a part, averaged over the sessions.

    Each session's part is decoded as one continuous stream in evaluation mode, where a fold's
    joint lies within as two. Windowed decoders see whole windows only, as in evaluation.

    Args:
        decoder: ends in evaluation mode.
        sessions: one or several.
        part: "train", "val" or "test".
        training: which split.
        areas: cortex areas read; None: all.
        loss: a name of :data:`spikereach.training.losses.LOSSES`.
        between: called now and then, so that a long run can be stopped.
    Raises:
        TrainingError: the part is shorter than a windowed decoder's window.
    """
    decoder.eval()
    results = []
    for session in sessions:
        sums = Sums(device_of(decoder))
        for steps in session.stretches(getattr(session.split(training.split), part)):
            try:
                end = steps.start + usable_steps(decoder, len(steps))
            except PassError as error:
                raise TrainingError(f"{session.name}, {part} part: {error}") from error
            spikes = as_input(decoder, session.spikes[steps.start : end, session.channels(areas)])
            target = torch.from_numpy(session.velocity[steps.start : end]).to(spikes.device)
            offset = target.new_tensor(decoder.standardisation.offset)
            scale = target.new_tensor(decoder.standardisation.scale)
            done = 0
            with parametrize.cached():
                for velocity in in_pieces(decoder, spikes, PIECE):
                    between()
                    true = target[done : done + len(velocity)]
                    sums.add((velocity[:, 0].float() - offset) / scale, (true - offset) / scale)
                    done += len(velocity)
        results.append(sums.loss_and_r2(loss).tolist())
    mean_loss, mean_r2 = np.mean(results, axis=0).tolist()
    return mean_loss, mean_r2


@torch.no_grad()
def score_windows(
    decoder: Decoder, feed: Feed, stage: Stage, between: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Loss and R2 of a stage's validation windows, as plain means over batches.

    Args:
        decoder: ends in evaluation mode.
        feed: of the windows of all sessions.
        stage: the loss, and the size of a batch; the last one may be smaller.
        between: called now and then, so that a long run can be stopped.
    """
    decoder.eval()
    means = BatchMeans(feed.device)
    for start in range(0, len(feed), stage.batch):
        between()
        spikes, target = feed.cut(range(start, min(start + stage.batch, len(feed))))
        with parametrize.cached():
            prediction, target = decoder.training_pairs(spikes, target)
        means.add(prediction.float(), target, stage.loss)
    return means.loss_and_r2()
