"""NeuroBench's ANN2 and ANN3 (Yik et al. 2025): counts of the last 200 ms through a small net."""

import torch
from torch import Tensor, nn

from spikereach.models.counts import Counting, CountState


class ANN3(Counting):
    """Counts -> linear -> ReLU -> batch norm -> linear -> dropout -> ReLU -> batch norm -> linear.

    Args:
        channels: input channels.
        hidden: units of the two hidden layers.
        window: steps counted.
        bins: counts per channel, of ``window // bins`` steps each.
        dropout: probability, in front of the second ReLU.
    """

    silent_steps = 0

    def __init__(
        self,
        *,
        channels: int,
        hidden: tuple[int, int] = (32, 48),
        window: int = 50,
        bins: int = 7,
        dropout: float = 0.5,
    ):
        super().__init__(channels, window, bins)
        first, second = hidden
        self.fc1 = nn.Linear(channels * bins, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, 2)
        self.dropout = nn.Dropout(dropout)
        self.batchnorm1 = nn.BatchNorm1d(first)
        self.batchnorm2 = nn.BatchNorm1d(second)
        self.activation = nn.ReLU()

    def forward(self, spikes: Tensor, state: CountState | None = None) -> tuple[Tensor, CountState]:
        steps, batch, _ = spikes.shape
        seen = 0 if state is None else state.seen
        silent = min(steps, max(0, self.silent_steps - seen))
        counts, state = self.counts(spikes.to(self.fc1.weight.dtype), state)
        velocity = spikes.new_zeros(silent, batch, 2)
        if silent == steps:
            return velocity, state
        # Channel-major features: all bins of the first channel, then of the second.
        x = counts[silent:].permute(0, 2, 3, 1).flatten(2).flatten(0, 1)
        x = self.batchnorm1(self.activation(self.fc1(x)))
        x = self.batchnorm2(self.activation(self.dropout(self.fc2(x))))
        decoded = self.fc3(x).unflatten(0, (-1, batch))
        return torch.cat([velocity, decoded.to(spikes.dtype)]), state


class ANN2(ANN3):
    """The layers of :class:`ANN3` on one count per channel.

    Until the window is full the output is zero and no layer is computed, as in the original.

    Args:
        channels, hidden, window, dropout: as :class:`ANN3`.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: tuple[int, int] = (32, 48),
        window: int = 50,
        dropout: float = 0.5,
    ):
        super().__init__(channels=channels, hidden=hidden, window=window, bins=1, dropout=dropout)
        self.silent_steps = window - 1
