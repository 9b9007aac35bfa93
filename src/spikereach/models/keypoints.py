"""Velocities between keypoints."""

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
