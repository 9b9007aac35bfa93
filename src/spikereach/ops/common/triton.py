"""What the Triton kernels of the CUDA backend share, and what surrounds them.

One program holds a stream's state and the recurrent weights in registers, from the first step to
the last. The forward pass keeps a checkpoint of the state every ``SEGMENT`` steps; the backward
pass computes each segment again, by the same functions and so to the same bits, and then goes
through it in reverse. Launch with ``enable_fp_fusion=False``: each product and sum of a neuron is
then rounded as in PyTorch; only sums over sources come in another order. What does not depend on
earlier steps is left to matrix products over all steps at once: the inputs before the loop over
time, the gradients of all weights after it. Nothing waits for the device.

Sequences are (T, B, N), states (B, N), constants (N,), all contiguous; ``BLOCK`` is a power of
two that holds N, elements beyond N are zero. Arithmetic is float32; currents may be stored in
less. Arguments come in groups, as tuples, and what is absent is None.

Places in memory are counted in 64 bits: `place` and `counted` make all that follows from them so.
Divisions are `tl.div_rn`, rounded as PyTorch does: Triton's own is an approximation.

Importing this module needs Triton, which comes with PyTorch's CUDA build.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from spikereach.ops.common import dropout
from spikereach.ops.common.dropout import Dropout

SEGMENT = 16
"""Steps from one checkpoint of the state to the next."""
ELEMENTS = 128
"""Elements of a program of an elementwise kernel."""

# SplitMix64, as in `Dropout`.
GAMMA = tl.constexpr(dropout.GAMMA)
LANES = tl.constexpr(dropout.LANES)
(S1, F1), (S2, F2), (S3, _) = (
    (tl.constexpr(shift), tl.constexpr(factor)) for shift, factor in dropout.ROUNDS
)

DRAWN = ("drawn", "t")
"""Arguments that change from call to call: kernels are not compiled anew for special values."""
drawing = triton.jit(do_not_specialize=DRAWN, do_not_specialize_on_alignment=DRAWN)


@triton.jit
def counted(number):
    """In 64 bits, as all places in memory that follow from it."""
    return tl.cast(number, tl.int64)


@triton.jit
def place(axis: tl.constexpr):
    """The number of this program along an axis of the grid."""
    return counted(tl.program_id(axis))


@triton.jit
def dropped(values, drawn, row, element, width):
    """Elements of a row after dropout, with rows of ``width`` elements, or as they are."""
    if drawn is not None:
        seed, bound, scale = drawn
        number = row * ((width + LANES - 1) // LANES) + element // LANES + 1
        word = seed.to(tl.uint64) + number.to(tl.uint64) * GAMMA
        word = (word ^ (word >> S1)) * F1
        word = (word ^ (word >> S2)) * F2
        word = word ^ (word >> S3)
        lane = (word >> ((element % LANES) * (64 // LANES)).to(tl.uint64)) & 0xFFFF
        values = tl.where(lane.to(tl.int32) >= bound, values * scale, 0.0)
    return values


@triton.jit
def derivative(distance, surrogate, SHAPE: tl.constexpr):
    """The surrogate derivative at a distance from the threshold."""
    slope, peak = surrogate
    if SHAPE == "rational":
        x = slope * tl.abs(distance) + 1.0
        return tl.div_rn(peak, x * x)
    elif SHAPE == "triangle":
        x = 1.0 - slope * tl.abs(distance)
        return peak * tl.where(x < 0.0, 0.0, x)
    else:
        x = slope * distance
        return tl.div_rn(peak, 1.0 + x * x)


@triton.jit
def matrix(weight, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row, column = counted(tl.arange(0, ROWS))[:, None], tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    return tl.load(weight + (row * columns + column), mask=inside, other=0.0).to(tl.float32)


@triton.jit
def product(values, weight):
    """Sum of the rows, which lie across threads, so that each sums what it holds."""
    return tl.sum(values[:, None] * weight, axis=0)


@triton.jit
def fire(v, threshold):
    return tl.where(v > threshold, 1.0, 0.0)


@drawing
def drop(x, out, count, width, drawn, BLOCK: tl.constexpr):
    """Dropout of ``count`` numbers in rows of ``width``."""
    element = place(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < count
    value = tl.load(x + element, mask=inside, other=0).to(tl.float32)
    tl.store(out + element, dropped(value, drawn, element // width, element % width, width), inside)


@contextmanager
def on(tensor: Tensor) -> Iterator[None]:
    """Launches and products on the tensor's device, in float32."""
    with torch.autocast(tensor.device.type, enabled=False):
        if tensor.device.type == "cuda":
            with torch.cuda.device(tensor.device):
                yield
        else:  # Triton's interpreter
            yield


def block(units: int) -> int:
    """The power of two that holds them, 16 or more."""
    return max(16, 1 << (units - 1).bit_length())


def options(rows: int) -> dict[str, Any]:
    """For launches of programs with a matrix of that many rows: 32 of it per thread."""
    warps = max(1, min(16, rows * rows // 1024))
    return {"SEGMENT": SEGMENT, "num_warps": warps, "enable_fp_fusion": False}


def segments(steps: int, inputs: tuple[bool, ...]) -> int:
    """Checkpoints to keep: none where no input needs a gradient."""
    return -(-steps // SEGMENT) if any(inputs) else 0


def drawn(dropout: Dropout | None) -> tuple[int, int, float] | None:
    """Seed, bound and scale as the kernels take them."""
    return None if dropout is None else (dropout.seed, dropout.dropped, dropout.scale)


def received(x: Tensor, dropout: Dropout | None) -> Tensor:
    """Inputs after dropout, float32."""
    if dropout is None or not dropout.dropped:
        return x.float()
    out = torch.empty(x.shape, device=x.device)
    x = (x.view(torch.uint8) if x.dtype == torch.bool else x).contiguous()
    grid = (-(-x.numel() // ELEMENTS),)
    drop[grid](x, out, x.numel(), x.shape[-1], drawn(dropout), BLOCK=ELEMENTS)
    return out


def rows(gradient: Tensor | None) -> tuple[Tensor, int] | None:
    """Gradients of the steps' spikes, and numbers from one step's to the next's. Those of a sum
    over time are one row for all steps."""
    if gradient is None:
        return None
    if gradient.stride(0) == 0:
        return gradient[0].contiguous(), 0
    return gradient.contiguous(), gradient[0].numel()


def given(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient.contiguous()


def weight_gradient(gradients: Tensor, sources: Tensor) -> Tensor:
    """Over all steps and streams at once."""
    return gradients.flatten(0, 1).T @ sources.flatten(0, 1)


def per_unit(value: Tensor | float, currents: Tensor) -> Tensor:
    units = currents.shape[-1:]
    if isinstance(value, Tensor):
        return value.float().expand(units).contiguous()
    return torch.full(units, value, device=currents.device)
