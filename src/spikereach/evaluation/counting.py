"""Counting operations: one pass over what a layer received."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

BLOCK = 512
"""Elements whose operations are added up in 32 bits."""


class FanOut(NamedTuple):
    """How many weights each element of a sample meets."""

    counts: np.ndarray
    """int32, of a sample's shape"""
    dense: int
    """Weights that all elements meet, zeros included"""


def tally(calls: Tensor, fan_out: FanOut) -> tuple[np.ndarray, np.ndarray]:
    """Operations of each call, and whether all of its inputs are 0, 1 or -1.

    Args:
        calls: (n, ...), inputs of n calls; each is one or more samples.
        fan_out: of one sample.
    Returns:
        (n,) int64 and (n,) bool.
    """
    samples = _array(calls).reshape(len(calls), -1, *fan_out.counts.shape)
    # In the order in which they lie in memory, whatever the layer makes of them.
    axes = sorted(range(2, samples.ndim), key=samples.strides.__getitem__, reverse=True)
    counts = fan_out.counts.transpose([axis - 2 for axis in axes])
    operations, binary = np.empty(len(calls), np.int64), np.empty(len(calls), np.bool_)
    _tally(
        np.ascontiguousarray(samples.transpose(0, 1, *axes)).reshape(*samples.shape[:2], -1),
        np.ascontiguousarray(counts).reshape(-1),
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


@njit(cache=True, nogil=True)
def _nonzero(values):
    count = 0
    for e in range(len(values)):
        count += values[e] != 0
    return count


@njit(cache=True, nogil=True)
def _tally(calls, counts, operations, binary):
    """The samples of each call, (n, samples, elements)."""
    nothing = np.int32(0)
    for call in range(len(calls)):
        total, others = 0, 0
        for number in range(calls.shape[1]):
            sample = calls[call, number]  # contiguous, as the compiler cannot tell in iteration
            for start in range(0, len(sample), BLOCK):
                values, weights = sample[start : start + BLOCK], counts[start : start + BLOCK]
                met, other = nothing, nothing
                for e in range(len(values)):
                    value = values[e]
                    met += weights[e] if value != 0 else nothing
                    other += np.int32(value * value != abs(value))
                total += met
                others += other
        operations[call] = total
        binary[call] = others == 0
