"""Convolution and pooling bin by bin."""

import numpy as np
from torch import Tensor

from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.cpu import grid, values
from spikereach.ops.common.fixed_point import Format
from spikereach.ops.common.loops import receive, store


class ConvPoolStream:
    """Conv1d over the latest inputs, then the maximum of every two frames.

    Args:
        weight: (frames' channels, inputs, kernel).
        bias: (frames' channels,).
        buffer_format: in which each frame is stored before the maximum.
        inputs: (n, inputs) latest inputs, n < kernel; the first frame comes once there are
            ``kernel`` of them.
        odd: (0 or 1, channels), the frame that waits for its partner.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, buffer_format: Format, inputs: Tensor, odd: Tensor
    ):
        channels, _, kernel = weight.shape
        present = len(inputs)
        latest = np.zeros((kernel, inputs.shape[1]), np.float32)
        latest[kernel - present :] = values(inputs)
        self.pooled = np.empty(channels, np.float32)
        if len(odd):
            self.pooled[:] = values(odd[0])
        self.rest = (
            latest,
            values(weight.permute(2, 1, 0).flatten(0, 1)),
            values(bias),
            grid(buffer_format),
            np.array([kernel - 1 - present, len(odd)]),
            np.empty(channels, np.float32),
            self.pooled,
        )

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """The next pooled frame, if this input completes it."""
        return self.pooled if _step(x, *self.rest) else None


@compiled
def _step(x, latest, weight_t, bias, grid, counts, frame, pooled):
    """One input of a convolution and a maximum of two frames: whether ``pooled`` is complete.

    ``counts``: inputs that are missing before the first frame; 1 while a frame waits in
    ``pooled`` for its partner.
    """
    for row in range(len(latest) - 1):
        for n in range(len(x)):
            latest[row, n] = latest[row + 1, n]
    for n in range(len(x)):
        latest[len(latest) - 1, n] = x[n]
    if counts[0]:
        counts[0] -= 1
        return False
    receive(latest.reshape(-1), weight_t, bias, frame)
    store(frame, grid)
    counts[1] = 1 - counts[1]
    if counts[1]:
        pooled[:] = frame
        return False
    for n in range(len(frame)):
        pooled[n] = max(pooled[n], frame[n])
    return True
