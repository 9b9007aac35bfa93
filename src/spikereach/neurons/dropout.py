"""Dropout whose mask is drawn apart from its use."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Dropout(NamedTuple):
    """Elements to keep (bool), and the factor that keeps the mean."""

    keep: Tensor
    scale: float

    def __call__(self, values: Tensor) -> Tensor:
        return (values * self.scale).mul_(self.keep)  # in place: half the passes over memory


def draw_dropout(shape: torch.Size, probability: float, device: torch.device) -> Dropout:
    """Draw a mask of independent elements, each dropped with ``probability``.

    One 64-bit random number serves four elements, a multiple faster than drawing floats; the
    probability is that of the nearest multiple of ``2**-16``.

    Raises:
        ValueError: probability outside [0, 1).
    """
    if not 0 <= probability < 1:
        raise ValueError(f"dropout probability {probability} is not in [0, 1)")
    count = torch.Size(shape).numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=device)
    words.random_(-(2**63), None)
    dropped = round(probability * 2**16)
    keep = words.view(torch.int16)[:count] >= dropped - 2**15
    return Dropout(keep.view(shape), 2**16 / (2**16 - dropped))
