"""Spike counts over the last steps, as the NeuroBench baselines accumulate them."""

from typing import NamedTuple

import torch
from torch import Tensor

from spikereach.models.decoder import BufferSize, Decoder, Timing


class CountState(NamedTuple):
    """The last ``window - 1`` rows (window - 1, B, C) and how many steps were seen (capped)."""

    rows: Tensor
    seen: int


class Counts:
    """Sums of spikes in ``bins`` consecutive bins of ``width`` steps of a moving window.

    As in NeuroBench's examples, the window of ``window`` steps begins as one row of zeros and
    grows to the right, so that before it is full its bins fill from the left; steps beyond
    ``bins * width`` (here the newest) are in no bin.
    """

    def __init__(self, *, window: int, bins: int, width: int):
        if bins * width > window:
            raise ValueError(f"{bins} bins of {width} steps do not fit a window of {window}")
        self.window, self.bins, self.width = window, bins, width

    def init_state(self, batch: int, channels: int, like: Tensor) -> CountState:
        return CountState(like.new_zeros(self.window - 1, batch, channels), 0)

    def __call__(self, spikes: Tensor, state: CountState | None) -> tuple[Tensor, CountState]:
        """Counts after each step: (T, bins, B, C) from spikes (T, B, C), and the new state.

        ``state``: None begins anew.
        """
        if state is None:
            state = self.init_state(*spikes.shape[1:], spikes)
        kept, steps = self.window - 1, len(spikes)
        rows = torch.cat([state.rows, spikes])
        # Sums up to each row, of whole numbers: exact, and on CUDA the same whenever repeated.
        total = rows.cumsum(0, dtype=torch.int32)
        total = torch.cat([torch.zeros_like(total[:1]), total])
        oldest = torch.arange(steps, device=spikes.device)[:, None]
        # A window that grows begins with the row before the first step.
        begun = oldest.clamp(min=kept - 1 - state.seen)
        start = begun + self.width * torch.arange(self.bins, device=spikes.device)
        end = torch.minimum(start + self.width, oldest + self.window)
        counts = total[end] - total[torch.minimum(start, end)]
        seen = min(state.seen + steps, self.window)
        return counts.to(spikes.dtype), CountState(rows[steps:], seen)


class Counting(Decoder):
    """Base of networks that are run anew for each step, on the counts of the last ``window`` steps.

    Args:
        channels: input channels.
        window: steps counted.
        bins: counts per channel, of ``window // bins`` steps each.
    """

    def __init__(self, channels: int, window: int, bins: int):
        super().__init__(
            channels=channels, timing=Timing(receptive_field=window, once_per_step=True)
        )
        self.counts = Counts(window=window, bins=bins, width=window // bins)
        # A row of the original's buffer, which its published footprint counts.
        self.register_buffer("data_buffer", torch.zeros(1, channels), persistent=False)

    def buffer_sizes(self) -> list[BufferSize]:
        return [BufferSize("input", self.counts.window * self.channels, "input")]
