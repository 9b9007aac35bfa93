"""Whether cortex areas speak: whether they have a spike in the receptive field of a frame."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Presence(NamedTuple):
    """What a stream carries from one call to the next."""

    steps: int
    """taken so far"""
    quiet: Tensor
    """(areas, B): steps since the last spike"""


class Frames(NamedTuple):
    """Frame ``j`` is complete with step ``first + j period``; it sees the ``reach`` steps up to
    that one."""

    first: int
    period: int
    reach: int

    def silence(self, areas: int, batch: int, device: torch.device) -> Presence:
        """The state before the first step: no area has ever spiked."""
        return Presence(0, torch.full((areas, batch), self.reach, device=device))

    def present(
        self, areas: Sequence[Sequence[Tensor]], state: Presence
    ) -> tuple[Tensor, Presence]:
        """Which areas are present in the frames that the next steps complete.

        Args:
            areas: of each its spikes (B, T, C), in parts that follow each other.
            state: before these steps.
        Returns:
            (areas, B, n) of True and False, and the new state.
        """
        spiking = torch.stack(
            [torch.cat([part.amax(2) for part in parts], dim=1) > 0 for parts in areas]
        )
        at = torch.arange(spiking.shape[2], device=spiking.device)
        last = torch.where(spiking, at, -1 - state.quiet[..., None]).cummax(2).values
        quiet, ahead = at - last, self.first - state.steps
        present = quiet[..., max(ahead, ahead % self.period) :: self.period] < self.reach
        return present, Presence(state.steps + len(at), quiet[..., -1])

    def stream(self, areas: Sequence[slice], state: Presence) -> Callable[[np.ndarray], bool]:
        """A function that takes the next step's spikes (C,) of one stream, and tells whether all
        areas, of the channels of each, are present in a frame that ends there."""
        quiet = state.quiet[:, 0].tolist()

        def step(spikes: np.ndarray) -> bool:
            for number, area in enumerate(areas):
                quiet[number] = 0 if spikes[area].any() else quiet[number] + 1
            return max(quiet) < self.reach

        return step
