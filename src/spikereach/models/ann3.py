"""NeuroBench's ANN3 (Yik et al. 2025): ANN2 on a short history of counts."""

from __future__ import annotations

from spikereach.models.ann2 import ANN2
from spikereach.models.counts import Counts


class ANN3(ANN2):
    """The layers of :class:`ANN2` on ``bins`` counts of ``window // bins`` steps per channel.

    It decodes from the first step on.

    Args:
        channels: input channels.
        hidden: units of the two hidden layers.
        window: steps counted.
        bins: counts per channel.
        dropout: probability, in front of the second ReLU.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: tuple[int, int] = (32, 48),
        window: int = 50,
        bins: int = 7,
        dropout: float = 0.5,
    ):
        counts = Counts(window=window, bins=bins, width=window // bins)
        self._build(channels, counts, hidden, dropout)
        self.silent_steps = 0
