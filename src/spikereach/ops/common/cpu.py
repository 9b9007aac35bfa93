"""What surrounds the compiled loops: tensors as arrays, rules as numbers, autograd."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikereach.ops.common import loops
from spikereach.ops.common.chunks import Chunks
from spikereach.ops.common.dropout import Dropout
from spikereach.ops.common.fixed_point import Format, bounds
from spikereach.ops.common.surrogates import Surrogate, known

_SHAPES = {"rational": loops.RATIONAL, "triangle": loops.TRIANGLE, "arctan": loops.ARCTAN}


def values(tensor: Tensor) -> np.ndarray:
    """A contiguous copy in float32."""
    return np.array(tensor.detach().float().cpu().numpy(), order="C")


def flat(tensor: Tensor | None, axes: int) -> np.ndarray:
    """The memory of (T, B, N) as (T, B N) or of (B, N) as (B N); empty for None."""
    if tensor is None:
        return np.empty((0,) * axes, np.float32)
    return tensor.detach().contiguous().flatten(-2).numpy()


def copied(tensor: Tensor | None, like: Tensor) -> Tensor:
    """A writable copy; zeros for None."""
    return (torch.zeros_like(like) if tensor is None else tensor.detach()).clone(
        memory_format=torch.contiguous_format
    )


def matrix(weight: Tensor) -> np.ndarray:
    return weight.detach().contiguous().numpy()


def cut(arrays: Iterable[np.ndarray], lo: int, hi: int) -> tuple[np.ndarray, ...]:
    return tuple([array[lo:hi] for array in arrays])


def as_spikes(x: Tensor) -> np.ndarray:
    """Contiguous inputs: bytes and float32 as they are, other types as float32."""
    x = x.view(torch.uint8) if x.dtype == torch.bool else x
    x = x if x.dtype == torch.uint8 else x.float()
    return x.detach().contiguous().numpy()


def per_unit(value: Tensor | float, currents: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=currents.dtype).expand(currents.shape[-1])


def added(shares: np.ndarray) -> Tensor:
    """The chunks' transposed shares of a weight's gradient, added in order."""
    total = shares[0]
    for share in shares[1:]:
        total += share
    return torch.from_numpy(total).T


# Groups of arguments as `loops` describes them.


def drawn(dropout: Dropout | None) -> tuple[np.uint64, np.uint64, np.float32]:
    if dropout is None:
        return loops.ALL
    return np.uint64(dropout.seed), np.uint64(dropout.dropped), np.float32(dropout.scale)


def constants(surrogate: Surrogate) -> tuple[int, np.float32, np.float32]:
    return _SHAPES[known(surrogate).shape], np.float32(surrogate.slope), np.float32(surrogate.peak)


def grid(stored: Format | None) -> tuple[np.float32, np.float32, np.float32]:
    """Of a format in which values are stored."""
    if stored == "float16":
        return loops.BINARY16, loops.NIL, loops.NIL
    return tuple(map(np.float32, bounds(*stored) if isinstance(stored, tuple) else (0, 0, 0)))


class Loops(NamedTuple):
    """The compiled passes of an operation without inputs of its own; any number of constants."""

    forward: Callable[..., None]
    """(currents, weight_t, constants, rule, span, state, out, kept): fills ``out`` and, in place,
    state; ``weight_t`` is empty without recurrence, ``kept`` (n, T, elements of the chunk)"""
    backward: Callable[..., None]
    """(first, out, kept, weight, constants, rule, span, gout, gstate, gradients): fills or adds to
    gradients of the currents, the transposed weight and the constants; ``gstate`` in place, from
    the last state to the first"""
    kept: int
    """sequences that the forward pass keeps for the backward pass"""


def scan(
    loops: Loops,
    rule: tuple,
    currents: Tensor,
    recurrent: Tensor | None,
    constants: Sequence[Tensor],
    state: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Run the loops.

    Args:
        loops: of the operation.
        rule: numbers that the loops take as they are.
        currents: (T, B, N).
        recurrent: weight (N, N), or None.
        constants: one value per unit each, (N,).
        state: (B, N) each.
    Returns:
        a sequence (T, B, N), and the state after the last step.
    """
    return _Scan.apply((loops, rule, len(constants)), currents, recurrent, *constants, *state)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how, currents, recurrent, *others):
        ctx.set_materialize_grads(False)
        ctx.how, ctx.chunks = how, Chunks(*currents.shape[1:])
        (passes, rule, number), chunks = how, ctx.chunks
        out = torch.empty_like(currents, memory_format=torch.contiguous_format)
        state = [copied(each, each) for each in others[number:]]
        ctx.save_for_backward(out, recurrent, *others)
        shape = passes.kept, len(out)
        ctx.kept = [np.empty((*shape, hi - lo), np.float32) for lo, hi in chunks.bounds]
        weight_t = np.empty((0, out.shape[2]), np.float32)
        if recurrent is not None:
            weight_t = matrix(recurrent.T)
        flat_currents, flat_out = flat(currents, 2), flat(out, 2)
        constants = [chunks.repeat(each) for each in others[:number]]
        flat_state = [flat(each, 1) for each in state]

        def work(chunk: int, lo: int, hi: int) -> None:
            here, states = cut(constants, 0, hi - lo), cut(flat_state, lo, hi)
            rest = rule, (lo, hi), states, flat_out, ctx.kept[chunk]
            passes.forward(flat_currents, weight_t, here, *rest)

        chunks.run(work)
        return out, *state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gout, *gstate):
        out, recurrent, *others = ctx.saved_tensors
        (passes, rule, number), chunks = ctx.how, ctx.chunks
        first = others[number:]
        gstate = [copied(g, each) for g, each in zip(gstate, first, strict=True)]
        gcurrents = torch.empty_like(out)
        gout = flat(torch.zeros_like(out) if gout is None else gout, 2)
        weight = np.empty((0, out.shape[2]), np.float32)
        if recurrent is not None:
            weight = matrix(recurrent)
        gweight = np.zeros((len(chunks.bounds), *weight.shape), np.float32)
        constants = [chunks.repeat(each) for each in others[:number]]
        gconstants = [chunks.shares() for _ in constants]
        flat_out, flat_gcurrents = flat(out, 2), flat(gcurrents, 2)
        flat_first, flat_gstate = ([flat(each, 1) for each in s] for s in (first, gstate))

        def work(chunk: int, lo: int, hi: int) -> None:
            here, shares = (
                cut(each, 0, hi - lo) for each in (constants, [g[chunk] for g in gconstants])
            )
            gradients = flat_gcurrents, gweight[chunk], shares
            rest = rule, (lo, hi), gout, cut(flat_gstate, lo, hi), gradients
            passes.backward(cut(flat_first, lo, hi), flat_out, ctx.kept[chunk], weight, here, *rest)

        chunks.run(work)
        gweight = None if recurrent is None else added(gweight)
        return None, gcurrents, gweight, *map(chunks.total, gconstants), *gstate
