"""Decoders bin by bin, without PyTorch: chains of operations' streams and of read-outs.

A stream starts from a decoder's state and does what its `forward` does with one bin per call,
within microseconds: no tensor is made, and silent inputs cost nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from spikereach.ops.common.cpu import values
from spikereach.ops.common.loops import receive

Stream = Callable[[np.ndarray], np.ndarray]
"""From the spikes of the next bin (C,) uint8 to velocity (2,) float32, standardised as trained."""


class Receiver:
    """Linear layer: weight (units, inputs), bias (units,) or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        self.weight_t = values(weight.T)
        self.bias = np.zeros(len(weight), np.float32) if bias is None else values(bias)
        self.out = np.empty_like(self.bias)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        receive(x, self.weight_t, self.bias, self.out)
        return self.out


class Keypoints:
    """Linear read-out of keypoints and the velocities between them (`models.keypoints`).

    ``last`` (0 or 1, 1, 2) is the latest keypoint, ``ready`` (n, 1, 2) what is not yet due: the
    attribute of that name holds it, oldest first.
    """

    def __init__(self, readout: nn.Linear, period: int, last: Tensor, ready: Tensor):
        self.ready = deque(values(ready[:, 0]))
        self.last = values(last[0, 0]) if len(last) else None
        self.shares = np.arange(1, period + 1, dtype=np.float32)[:, None] / np.float32(period)
        self.readout = Receiver(readout.weight, readout.bias)

    def add(self, x: np.ndarray) -> None:
        """The next keypoint, from what the read-out reads."""
        new = self.readout(x).copy()
        between = new[None] if self.last is None else self.last + self.shares * (new - self.last)
        self.ready.extend(between)
        self.last = new


def chain(*stages: Stream) -> Stream:
    """One stage after the other, as far as one has an output."""

    def step(x: np.ndarray) -> np.ndarray | None:
        for stage in stages:
            x = stage(x)
            if x is None:
                return None
        return x

    return step
