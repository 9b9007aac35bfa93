"""Fixed-point numbers with a straight-through gradient."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Format = Literal["float32", "float16"] | tuple[int, int] | int
"""In which values are stored: fixed point has integer and fractional bits, and a sign bit. A number
alone, of weights only, is all bits of whole numbers that each matrix multiplies by a power of two
of its own (:func:`scaled`)."""


class Formats(NamedTuple):
    """Of a decoder: its weights with its neurons' constants, and all that a stream stores."""

    weights: Format = "float32"
    buffers: Format = "float32"

    @property
    def constants(self) -> Format:
        """Of biases and of neurons' constants: the weights', but where each matrix has a scale."""
        return self.buffers if isinstance(self.weights, int) else self.weights


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


def levels(bits: int) -> int:
    """The largest whole number of a weight of so many bits, and the smallest one's absolute value:
    1 of two bits, which is ternary, and 127 of eight."""
    return 2 ** (bits - 1) - 1


def scaled(weight: Tensor, bits: int, exponent: int) -> Tensor:
    """Round to the nearest whole number times ``2**exponent``, from ``-levels`` to ``levels``.

    The gradient passes straight through, also where the value saturates, which is far from rare
    with few bits.
    """
    scale, largest = 2.0**exponent, levels(bits)
    rounded = (weight / scale).round().clamp(-largest, largest) * scale
    return weight + (rounded - weight).detach()


def exponent_of(weight: Tensor, bits: int) -> int:
    """The power of two with which :func:`scaled` changes a matrix least, by squared error.

    0 where all weights are.
    """
    weight = weight.detach().double()
    if not weight.any():
        return 0
    top = math.ceil(math.log2(weight.abs().max().item() / levels(bits)))
    candidates = range(top, top - bits - 4, -1)
    return min(candidates, key=lambda e: (scaled(weight, bits, e) - weight).square().sum().item())


def constant(value: Tensor | float, number_format: Format) -> Tensor | float:
    """A neuron's constant as it is stored: on the grid where its format is fixed point."""
    bits = bits_of(number_format)
    if bits is None:
        return value
    found = quantise(torch.as_tensor(value), *bits)
    return found if isinstance(value, Tensor) else float(found)


def stored(values: Tensor, buffer_format: Format) -> Tensor:
    """What comes back of values that were stored in a format."""
    if isinstance(buffer_format, tuple):
        return quantise(values, *buffer_format)
    return values.half().to(values.dtype) if buffer_format == "float16" else values
