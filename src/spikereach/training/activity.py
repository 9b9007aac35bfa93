"""How active the hidden units of a decoder are while it is trained, and what to say of it."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

log = logging.getLogger(__name__)

BUSY = 0.9
"""A unit is saturated if it spikes in more than this share of its steps."""
MANY = 0.5
"""Share of silent or of saturated units from which on a training says so."""
NOTHING = 0.02
"""Validation R2 up to which a training has learned nothing."""


class Activity:
    """How often every hidden unit spikes, over the updates of an epoch; on the device."""

    def __init__(self, device: torch.device):
        # per unit the share of its steps with a spike, summed over updates; updates
        self.shares = torch.zeros(0, dtype=torch.float64, device=device)
        self.updates = 0

    def add(self, spikes: Mapping[str, Tensor]) -> None:
        """Add an update's spikes (steps, B, units) by layer."""
        shares = [each.detach().float().mean((0, 1)).double() for each in spikes.values()]
        if shares:
            found = torch.cat(shares)
            self.shares = self.shares + found if self.updates else found
            self.updates += 1

    def silent_and_saturated(self) -> tuple[float, float]:
        """Share of the units that never spiked, and of those that hardly ever did not; zeros where
        nothing spikes."""
        if not self.updates:
            return 0.0, 0.0
        mean = self.shares / self.updates
        return (mean == 0).double().mean().item(), (mean > BUSY).double().mean().item()

    def clear(self) -> None:
        self.updates = 0


def warn(name: str, rows: Sequence[Mapping[str, float]], kept: Mapping[str, float]) -> None:
    """Say what is wrong with a finished training: nothing learned, units silent or saturated.

    Args:
        name: of the run.
        rows: its history.
        kept: the row of the epoch whose weights are kept.
    """
    best = max(row["val_r2"] for row in rows)
    if best <= NOTHING:
        log.warning(
            "%s: nothing was learned in %d epochs: the best validation R2 is %.3f; look at the "
            "training loss, the learning rate and, of a spiking net, at the silent units",
            name, len(rows), best,
        )  # fmt: skip
    for kind, remedy in {
        "silent": "larger initial weights, or a `spike_floor`",
        "saturated": "smaller initial weights, or a `spike_ceiling` or `spike_sum`",
    }.items():
        if kept[kind] >= MANY:
            log.warning(
                "%s: %.0f %% of the hidden units are %s in the epoch that is kept: try %s",
                name, 100 * kept[kind], kind, remedy,
            )  # fmt: skip
