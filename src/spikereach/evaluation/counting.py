"""Counting operations: one pass over what a layer received."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spikereach.ops.common.compiling import compiled

BLOCK = 512
"""Elements whose operations are added up in 32 bits."""


class FanOut(NamedTuple):
    """How many weights each element of a sample meets."""

    counts: np.ndarray
    """int32, of a sample's shape, but for some positions of its last axis only"""
    positions: np.ndarray
    """int64: for each position of the last axis, the one of those that meets as many"""
    dense: int
    """Weights that all elements meet, zeros included"""

    @property
    def shape(self) -> tuple[int, ...]:
        """A sample's."""
        return *self.counts.shape[:-1], len(self.positions)


def tally(calls: Tensor, fan_out: FanOut) -> tuple[np.ndarray, np.ndarray]:
    """Operations of each call, and whether all of its inputs are 0, 1 or -1.

    Args:
        calls: (n, ...), inputs of n calls; each is one or more samples.
        fan_out: of one sample.
    Returns:
        (n,) int64 and (n,) bool.
    """
    samples = _array(calls).reshape(len(calls), -1, *fan_out.shape)
    # In the order in which they lie in memory, whatever the layer makes of them.
    axes = sorted(range(2, samples.ndim), key=samples.strides.__getitem__, reverse=True)
    counts, positions = fan_out.counts, fan_out.positions
    by_position = len(axes) > 1 and axes[0] == samples.ndim - 1
    if not by_position:
        counts, positions = counts[..., positions], np.zeros(1, np.int64)
    counts = counts.transpose([axis - 2 for axis in axes])
    width = math.prod(counts.shape[1:] if by_position else counts.shape)
    operations, binary = np.empty(len(calls), np.int64), np.empty(len(calls), np.bool_)
    _tally(
        np.ascontiguousarray(samples.transpose(0, 1, *axes)).reshape(len(calls), -1, width),
        np.ascontiguousarray(counts).reshape(-1, width),
        positions,
        operations,
        binary,
    )
    return operations, binary


def nonzero(values: Tensor) -> int:
    """Elements that are not zero."""
    return _nonzero(np.ascontiguousarray(_array(values)).reshape(-1))


def _array(values: Tensor) -> np.ndarray:
    """On the CPU: bytes, float32 and float64 as they are, other types in float32."""
    kept = values.dtype in (torch.uint8, torch.float32, torch.float64)
    return (values if kept else values.float()).detach().cpu().numpy()


@compiled
def _nonzero(values):
    count = 0
    for e in range(len(values)):
        count += values[e] != 0
    return count


@compiled
def _tally(samples, counts, positions, operations, binary):
    """The samples of each call, (n, rows, width), one row after the other at all positions."""
    nothing = np.int32(0)
    for call in range(len(samples)):
        total, others = 0, 0
        for row in range(samples.shape[1]):
            # Contiguous, as the compiler cannot tell in iteration.
            sample, fan_out = samples[call, row], counts[positions[row % len(positions)]]
            for start in range(0, len(sample), BLOCK):
                values, weights = sample[start : start + BLOCK], fan_out[start : start + BLOCK]
                met, other = nothing, nothing
                for e in range(len(values)):
                    value = values[e]
                    met += weights[e] if value != 0 else nothing
                    other += np.int32(value * value != abs(value))
                total += met
                others += other
        operations[call] = total
        binary[call] = others == 0
