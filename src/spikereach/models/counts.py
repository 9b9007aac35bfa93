"""Spike counts over the last steps, as the NeuroBench baselines accumulate them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


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
        self.window = window
        self.bins = bins
        self.width = width

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
        # Sums up to each row in float32: counts are whole numbers, so differences are exact.
        total = rows.cumsum(0, dtype=torch.float32)
        total = torch.cat([torch.zeros_like(total[:1]), total])
        newest = torch.arange(1, steps + 1, device=spikes.device)[:, None] + state.seen
        first = (newest - kept).clamp(min=0) + self.width * torch.arange(
            self.bins, device=spikes.device
        )
        # Steps are numbered from 1; row 0 holds step seen - kept + 1.
        end = torch.minimum(first + self.width, newest + 1) - (state.seen - kept + 1)
        start = torch.minimum(first - (state.seen - kept + 1), end)
        counts = total[end] - total[start]
        return counts.to(spikes.dtype), CountState(
            rows[steps:], min(state.seen + steps, self.window)
        )
