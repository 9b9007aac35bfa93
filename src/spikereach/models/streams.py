"""Decoders bin by bin, without PyTorch: chains of operations' streams and of read-outs.

A stream starts from a decoder's state and does what its `forward` does with one bin per call,
within microseconds: no tensor is made, and silent inputs cost nothing.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from spikereach.ops.common.compiling import compiled
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
    attribute of that name holds it, oldest first. ``decay`` is the share of the latest keypoint in
    the next one, where keypoints are a running average.
    """

    def __init__(
        self, readout: nn.Linear, period: int, last: Tensor, ready: Tensor, decay: float = 0.0
    ):
        self.ready = deque(values(ready[:, 0]))
        self.begun = len(last) > 0
        self.last = values(last[0, 0]) if self.begun else np.zeros(2, np.float32)
        self.shares = np.arange(1, period + 1, dtype=np.float32)[:, None] / np.float32(period)
        self.readout = values(readout.weight.T), values(readout.bias), np.float32(decay)

    def add(self, x: np.ndarray) -> None:
        """The next keypoint, from what the read-out reads."""
        between = _keypoint(x, *self.readout, self.last, self.shares)
        self.ready.extend(between if self.begun else between[-1:])
        self.begun = True


@compiled
def _keypoint(x, weight_t, bias, decay, last, shares):
    """Read-out of a keypoint; the values (period, 2) from the last one to it, which it becomes."""
    new = np.empty_like(last)
    receive(x, weight_t, bias, new)
    new = decay * last + (np.float32(1) - decay) * new
    between = last + shares * (new - last)
    last[:] = new
    return between


def chain(*stages: Stream) -> Stream:
    """One stage after the other, as far as one has an output."""

    def step(x: np.ndarray) -> np.ndarray | None:
        for stage in stages:
            x = stage(x)
            if x is None:
                return None
        return x

    return step
