"""Dropout without a mask: whether an element is kept is a function of its number.

Event-driven loops ask for spikes only; everything else draws the same mask in full.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

# SplitMix64 (Steele, Lea & Flood 2014): the increment of its counter, shifts and factors.
GAMMA = 0x9E3779B97F4A7C15
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


LANES = 4  # elements per word, of 16 bits each


class Dropout(NamedTuple):
    """Rows of ``shape[-1]`` elements; each row begins a new word of SplitMix64, started at
    ``seed``. An element is dropped where its 16 bits are below ``dropped``."""

    shape: torch.Size
    seed: int
    dropped: int
    device: torch.device

    @property
    def scale(self) -> float:
        """Factor of kept elements, which keeps the mean."""
        return 2**16 / (2**16 - self.dropped)

    @property
    def keep(self) -> Tensor:
        """The mask, bool."""
        *rows, width = self.shape
        per_row = -(-width // LANES)
        words = torch.arange(1, math.prod(rows) * per_row + 1, device=self.device)
        words = words.mul_(_signed(GAMMA)).add_(self.seed)
        for shift, factor in ROUNDS:
            words ^= (words >> shift) & (2 ** (64 - shift) - 1)  # >> copies the sign bit
            words *= _signed(factor)
        lanes = words.view(torch.int16).view(*rows, per_row * LANES)[..., :width]
        return (lanes.int() & 0xFFFF) >= self.dropped

    def __call__(self, values: Tensor) -> Tensor:
        """The values after dropout; shape as drawn."""
        return (values * self.scale).mul_(self.keep)


def draw_dropout(shape: torch.Size, probability: float, device: torch.device) -> Dropout:
    """Draw a dropout of independent elements from PyTorch's random state on the CPU.

    The probability is that of the nearest multiple of ``2**-16``.

    Raises:
        ValueError: probability outside [0, 1).
    """
    if not 0 <= probability < 1:
        raise ValueError(f"dropout probability {probability} is not in [0, 1)")
    seed = int(torch.randint(2**63 - 1, ()))
    dropped = min(round(probability * 2**16), 2**16 - 1)
    return Dropout(torch.Size(shape), seed, dropped, device)


class ChannelDropout(nn.Module):
    """In training, spikes (T, B, C) in which each channel of each window is silent with a
    probability.

    The others are not scaled: a decoder learns that neurons may be lost.

    Raises:
        ValueError: probability outside [0, 1).
    """

    def __init__(self, probability: float):
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"channel_dropout is {probability}: give 0 or more, below 1")
        self.probability = probability

    def forward(self, spikes: Tensor) -> Tensor:
        if not (self.training and self.probability):
            return spikes
        drawn = torch.rand(1, *spikes.shape[1:], device=spikes.device)
        return spikes * (drawn >= self.probability)


def _signed(word: int) -> int:
    """A 64-bit word as the int64 with the same bits; products wrap alike."""
    return word - 2**64 if word >= 2**63 else word
