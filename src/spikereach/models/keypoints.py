"""Keypoints, the velocities between them, and their delayed output."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(keypoints: Tensor, period: int) -> Tensor:
    """Linear interpolation: keypoint ``j`` lies at step ``period * j``.

    Args:
        keypoints: (K, ...), K >= 1.
        period: steps between keypoints.
    Returns:
        ((K - 1) * period + 1, ...): every step from the first to the last keypoint.
    """
    weights = torch.arange(1, period + 1, dtype=keypoints.dtype, device=keypoints.device) / period
    weights = weights.reshape(1, period, *[1] * (keypoints.dim() - 1))
    start, end = keypoints[:-1, None], keypoints[1:, None]
    between = torch.lerp(start, end, weights).flatten(0, 1)
    return torch.cat([keypoints[:1], between])


def emit(ready: Tensor, seen: int, steps: int, lookahead: int) -> tuple[Tensor, Tensor]:
    """Output of the next ``steps`` steps, each the velocity of ``lookahead`` steps earlier.

    Args:
        ready: (n, B, 2), computed and not yet emitted, oldest first.
        seen: steps of the stream before these.
        steps: length of the output.
        lookahead: delay; the first ``lookahead`` outputs of a stream are zero.
    Returns:
        velocity (steps, B, 2), and what remains of ``ready``.
    """
    silent = min(steps, max(0, lookahead - seen))
    due = steps - silent
    zeros = ready.new_zeros(silent, *ready.shape[1:])
    return torch.cat([zeros, ready[:due]]), ready[due:]
