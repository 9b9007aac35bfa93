"""Fixed-point numbers with a straight-through gradient."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Format = Literal["float32", "float16"] | tuple[int, int]
"""In which values are stored: fixed point has integer and fractional bits, and a sign bit."""


class Formats(NamedTuple):
    """Of a decoder: its weights with its neurons' constants, and all that a stream stores."""

    weights: Format = "float32"
    buffers: Format = "float32"


def bounds(integer_bits: int, fractional_bits: int) -> tuple[float, float, float]:
    """Grid points per unit, and the lowest and the highest of them."""
    scale = 2.0**fractional_bits
    return scale, -(2.0**integer_bits), 2.0**integer_bits - 1 / scale


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, integer_bits: int, fractional_bits: int) -> Tensor:
        scale, lowest, highest = bounds(integer_bits, fractional_bits)
        ctx.save_for_backward((values >= lowest) & (values <= highest))
        return (values * scale).round().div(scale).clamp(lowest, highest)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


def quantise(values: Tensor, integer_bits: int, fractional_bits: int) -> Tensor:
    """Round to the nearest fixed-point number (ties to even), saturating at the ends.

    The grid has a sign bit, ``integer_bits`` and ``fractional_bits``: steps of
    ``2**-fractional_bits`` from ``-2**integer_bits`` to ``2**integer_bits`` less one step.
    The gradient passes straight through where the value is inside that range and is zero
    where it saturates.
    """
    return _Quantise.apply(values, integer_bits, fractional_bits)


def bits_of(number_format: Format | None) -> tuple[int, int] | None:
    """Integer and fractional bits of a fixed-point format; None for any other."""
    return number_format if isinstance(number_format, tuple) else None


def constant(value: Tensor | float, weight_format: Format) -> Tensor | float:
    """A neuron's constant as it is stored: on the weights' grid where that is fixed point."""
    bits = bits_of(weight_format)
    if bits is None:
        return value
    found = quantise(torch.as_tensor(value), *bits)
    return found if isinstance(value, Tensor) else float(found)


def stored(values: Tensor, buffer_format: Format) -> Tensor:
    """What comes back of values that were stored in a format."""
    if isinstance(buffer_format, tuple):
        return quantise(values, *buffer_format)
    return values.half().to(values.dtype) if buffer_format == "float16" else values
