"""Spikes with a surrogate gradient: a step forward, a bump around the threshold backward.

Every surrogate is one of three shapes with a ``slope`` and a ``peak``; ``x`` is the distance
of the membrane from its threshold:

========== =========================================
shape      derivative
========== =========================================
rational   ``peak / (slope |x| + 1)**2``
triangle   ``peak * max(0, 1 - slope |x|)``
arctan     ``peak / (1 + (slope x)**2)``
========== =========================================
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Shape = Literal["rational", "triangle", "arctan"]


class Surrogate(NamedTuple):
    """Derivative that stands in for that of the step function."""

    shape: Shape
    slope: float
    peak: float

    def derivative(self, distance: Tensor) -> Tensor:
        """The surrogate derivative at ``distance`` from the threshold, elementwise."""
        if known(self).shape == "rational":
            return self.peak / (self.slope * distance.abs() + 1) ** 2
        if self.shape == "triangle":
            return self.peak * (1 - self.slope * distance.abs()).clamp(min=0)
        return self.peak / (1 + (self.slope * distance) ** 2)


def known(surrogate: Surrogate) -> Surrogate:
    """The surrogate, if its shape is one of the three.

    Raises:
        ValueError: it is not; names those that are.
    """
    if surrogate.shape not in get_args(Shape):
        names = ", ".join(get_args(Shape))
        raise ValueError(f"unknown surrogate {surrogate.shape!r}; known: {names}")
    return surrogate


def fast_sigmoid(slope: float = 20.0) -> Surrogate:
    """``1 / (slope |x| + 1)**2``: SuperSpike (Zenke & Ganguli 2018), by snnTorch's name."""
    return Surrogate("rational", slope, 1.0)


def triangle(peak: float = 0.3, half_width: float = 1.0) -> Surrogate:
    """``peak * max(0, 1 - |x| / half_width)`` (Bellec et al. 2020, with v_th as half width)."""
    return Surrogate("triangle", 1.0 / half_width, peak)


def arctan(alpha: float = 2.0) -> Surrogate:
    """``alpha / 2 / (1 + (pi alpha x / 2)**2)`` (snnTorch's ``atan``)."""
    return Surrogate("arctan", math.pi * alpha / 2, alpha / 2)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distance: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.surrogate = surrogate
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (distance,) = ctx.saved_tensors
        return gradient * ctx.surrogate.derivative(distance), None


def spike(distance: Tensor, surrogate: Surrogate) -> Tensor:
    """1 where ``distance`` (membrane less threshold) is above zero, else 0; surrogate gradient."""
    return _Spike.apply(distance, surrogate)
