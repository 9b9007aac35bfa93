"""Loss and R2 of a decoder, in constant memory."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from spikereach.config import Training
from spikereach.data.binning import BinnedSession
from spikereach.models.decoder import Decoder
from spikereach.models.passes import PassError, as_input, in_pieces, usable_steps
from spikereach.training.errors import TrainingError

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

    def loss_and_r2(self, loss: str) -> tuple[float, float]:
        """The loss over all steps, and R2 as NeuroBench: the mean of the x and the y R2.

        R2 is NaN where a velocity does not vary.
        """
        steps, *sums = self.values.tolist()
        total, squares, errors = np.asarray(sums[0:2]), np.asarray(sums[2:4]), np.asarray(sums[4:6])
        mse = errors.mean() / steps
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = float(np.mean(1 - errors / (squares - total**2 / steps)))
        return float(mse if loss == "mse" else np.sqrt(mse)), r2


@torch.no_grad()
def score(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    *,
    part: str,
    training: Training,
    areas: Sequence[str],
    loss: str = "mse",
    between: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Loss (on standardised velocities) and R2 of a part, averaged over the sessions.

    Each session's part is decoded as one continuous stream in evaluation mode. Windowed
    decoders see whole windows only, as in evaluation.

    Args:
        decoder: ends in evaluation mode.
        sessions: one or several.
        part: "train", "val" or "test".
        training: which split.
        areas: cortex areas read.
        loss: a name of :data:`spikereach.training.losses.LOSSES`.
        between: called now and then, so that a long run can be stopped.
    Raises:
        TrainingError: the part is shorter than a windowed decoder's window.
    """
    decoder.eval()
    results = []
    for session in sessions:
        steps = getattr(session.split(training.split), part)
        try:
            end = steps.start + usable_steps(decoder, len(steps))
        except PassError as error:
            raise TrainingError(f"{session.name}, {part} part: {error}") from error
        spikes = as_input(decoder, session.spikes[steps.start : end, session.channels(areas)])
        target = torch.from_numpy(session.velocity[steps.start : end]).to(spikes.device)
        offset = target.new_tensor(decoder.standardisation.offset)
        scale = target.new_tensor(decoder.standardisation.scale)
        sums, done = Sums(spikes.device), 0
        with parametrize.cached():
            for velocity in in_pieces(decoder, spikes, PIECE):
                between()
                true = target[done : done + len(velocity)]
                sums.add((velocity[:, 0].float() - offset) / scale, (true - offset) / scale)
                done += len(velocity)
        results.append(sums.loss_and_r2(loss))
    mean_loss, mean_r2 = np.mean(results, axis=0).tolist()
    return mean_loss, mean_r2
