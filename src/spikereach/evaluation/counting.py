"""Counting operations: one pass over what a layer received."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

BLOCK = 512
"""Elements whose operations are added up in 32 bits."""


def tally(calls: Tensor, fan_out: Tensor) -> tuple[Tensor, Tensor]:
    """Operations of each call, and whether all of its inputs are 0, 1 or -1.

    Args:
        calls: (n, ...), inputs of n calls; each is one or more samples of the shape of
            ``fan_out``.
        fan_out: how many weights each element of a sample meets.
    Returns:
        (n,) int64 and (n,) bool.
    """
    samples = calls.reshape(len(calls), -1, *fan_out.shape)
    # In the order in which they lie in memory, whatever the layer makes of them.
    axes = sorted(range(2, samples.ndim), key=samples.stride, reverse=True)
    samples = samples.permute(0, 1, *axes).flatten(2).cpu()
    if samples.dtype not in (torch.uint8, torch.float32, torch.float64):
        samples = samples.float()
    weights = fan_out.permute(*(axis - 2 for axis in axes)).flatten().cpu()
    operations, binary = np.empty(len(calls), np.int64), np.empty(len(calls), np.bool_)
    _tally(
        samples.detach().contiguous().numpy(),
        weights.to(torch.int32).contiguous().numpy(),
        operations,
        binary,
    )
    return torch.from_numpy(operations), torch.from_numpy(binary)


@njit(cache=True, nogil=True)
def _tally(samples, fan_out, operations, binary):
    nothing = np.int32(0)
    for call in range(len(samples)):
        total, others = 0, 0
        for number in range(samples.shape[1]):
            sample = samples[call, number]  # contiguous, as the compiler cannot tell in iteration
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
