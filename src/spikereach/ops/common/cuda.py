"""The scans over time on CUDA: autograd around the Triton kernels of `neurons.cuda_kernels`.

Triton comes with PyTorch's CUDA build and is imported when a scan is first run. What does not
depend on earlier steps is left to matrix products over all steps at once: the inputs before the
loop over time, the gradients of all weights after it. Nothing waits for the device.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, reduce
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from spikereach.ops.common.dropout import Dropout
from spikereach.ops.common.fixed_point import bounds
from spikereach.ops.common.surrogates import Surrogate, known
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState, CurrentWeights
from spikereach.ops.lif.step import LIFParameters, LIFState, Reset

log = logging.getLogger(__name__)

MAX_UNITS = 128
"""Recurrent units whose weights fit into the registers of one program."""
SEGMENT = 16
"""Steps from one checkpoint of the state to the next."""
_LARGEST = 2**31
"""Numbers in a tensor; their places are counted in 32 bits."""
_UNITS_BLOCK, _BLOCK = 64, 128
"""Units of a program without recurrence, elements of one that is elementwise."""


def fits(*tensors: Tensor | float | None, recurrent: Tensor | None = None) -> bool:
    """Whether this backend computes with these.

    They must be on CUDA, together of float32 as PyTorch promotes types, and not too large.
    """
    tensors = [t for t in (*tensors, recurrent) if isinstance(t, Tensor)]
    if not all(t.device.type == "cuda" and t.numel() < _LARGEST for t in tensors):
        return False
    kind = reduce(torch.promote_types, (t.dtype for t in tensors if t.dim()))
    small = recurrent is None or len(recurrent) <= MAX_UNITS
    return kind == torch.float32 and small and _triton_works()


@cache
def _triton_works() -> bool:
    """Whether Triton is installed, and a C compiler, with which it builds kernels' launchers."""
    if importlib.util.find_spec("triton") is None:
        return False
    if os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang"):
        return True
    log.warning(
        "neurons run step by step, many times slower: Triton needs a C compiler; install gcc"
    )
    return False


@cache
def _kernels() -> ModuleType:
    from spikereach.ops.common import cuda_kernels

    return cuda_kernels


@contextmanager
def _on(tensor: Tensor) -> Iterator[None]:
    """Launches and products on the tensor's device, in float32."""
    with torch.autocast(tensor.device.type, enabled=False):
        if tensor.device.type == "cuda":
            with torch.cuda.device(tensor.device):
                yield
        else:  # Triton's interpreter
            yield


def _block(units: int) -> int:
    """The power of two that holds them, 16 or more."""
    return max(16, 1 << (units - 1).bit_length())


def _launch(block: int) -> dict[str, Any]:
    """Options for programs with a matrix of that many rows: 32 of it per thread."""
    return {
        "SEGMENT": SEGMENT,
        "num_warps": max(1, min(16, block * block // 1024)),
        "enable_fp_fusion": False,
    }


def _drawn(dropout: Dropout | None) -> tuple[int, int, float]:
    """Seed, bound and scale as the kernels take them."""
    return (0, 0, 1.0) if dropout is None else (dropout.seed, dropout.dropped, dropout.scale)


def _received(x: Tensor, dropout: Dropout | None) -> Tensor:
    """Inputs after dropout, float32."""
    if dropout is None or not dropout.dropped:
        return x.float()
    kernels, out = _kernels(), torch.empty(x.shape, device=x.device)
    x = (x.view(torch.uint8) if x.dtype == torch.bool else x).contiguous()
    grid = (-(-x.numel() // _BLOCK),)
    kernels.drop[grid](x, out, x.numel(), x.shape[-1], *_drawn(dropout), BLOCK=_BLOCK)
    return out


def _rows(gradient: Tensor | None, like: Tensor) -> tuple[Tensor, int, bool]:
    """Gradients of the steps' spikes, numbers from one step's to the next's, and whether there
    are any. Those of a sum over time are one row for all steps."""
    if gradient is None:
        return like, 0, False
    if gradient.stride(0) == 0:
        return gradient[0].contiguous(), 0, True
    return gradient.contiguous(), gradient[0].numel(), True


def _given(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient.contiguous()


def _product(gradients: Tensor, sources: Tensor) -> Tensor:
    """Gradient of a weight: over all steps and streams at once."""
    return gradients.flatten(0, 1).T @ sources.flatten(0, 1)


def _current(name: str, streams: int, units: int) -> Callable[..., None]:
    """The kernel of one program per stream, or what stands for it with many units."""
    if units <= MAX_UNITS:
        return getattr(_kernels(), name)[(streams,)]
    from spikereach.ops.common import cuda_wide

    return getattr(cuda_wide, name)


class _CurrentLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, w_input, w_recurrent, w_output, mem, syn, v, i, a, rule):
        ctx.set_materialize_grads(False)
        ctx.surrogate, ctx.received, ctx.sent = rule
        steps, streams, _ = x.shape
        outputs, units = w_output.shape
        ctx.blocks = {"SEGMENT": SEGMENT}
        if units <= MAX_UNITS:
            block = _block(units)
            ctx.blocks = {"BLOCK": block, "OUT_BLOCK": _block(outputs), **_launch(block)}
        ctx.sizes = steps, streams, units, outputs, *_drawn(ctx.sent)
        weights = [each.contiguous() for each in (w_recurrent, w_output)]
        transposed = [each.T.contiguous() for each in weights]
        decays = [each.contiguous() for each in (mem, syn)]
        state = [each.contiguous() for each in (v, i, a)]
        needed = any(ctx.needs_input_grad)
        segments = -(-steps // SEGMENT) if needed else 0
        checkpoints = v.new_empty(segments, 3, streams, units)
        zs, outs = v.new_empty(steps, streams, units), v.new_empty(steps, streams, outputs)
        last = [torch.empty_like(each) for each in state]
        with _on(x):
            currents = F.linear(_received(x, ctx.received), w_input)
            _current("current_lif_forward", streams, units)(
                currents,
                *transposed,
                *decays,
                *state,
                zs,
                outs,
                *last,
                checkpoints,
                *ctx.sizes,
                DROPOUT=ctx.sent is not None,
                CHECKPOINTS=needed,
                **ctx.blocks,
            )
        ctx.save_for_backward(x, w_input, checkpoints, transposed[0], *weights, *decays)
        return zs, outs, *last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gzs, gouts, gv, gi, ga):
        x, w_input, checkpoints, *constants = ctx.saved_tensors
        steps, streams, units, outputs, *_ = ctx.sizes
        first = checkpoints[0, 0]
        glast = [_given(each, first) for each in (gv, gi, ga)]
        gouts = _given(gouts, first.new_empty(steps, streams, outputs))
        gcurrents, sents = (first.new_empty(steps, streams, units) for _ in range(2))
        # of the first state, then of the decays for each stream
        ghere = [torch.empty_like(first) for _ in range(5)]
        scratch = first.new_empty(SEGMENT, 2, streams, units)
        with _on(x):
            received = _received(x, ctx.received)
            currents = F.linear(received, w_input)
            gzs, gz_row, spikes = _rows(gzs, first)
            _current("current_lif_backward", streams, units)(
                currents,
                checkpoints,
                *constants,
                gzs,
                gz_row,
                gouts,
                *glast,
                gcurrents,
                sents,
                *ghere,
                scratch,
                *ctx.sizes,
                ctx.surrogate.slope,
                ctx.surrogate.peak,
                SHAPE=ctx.surrogate.shape,
                DROPOUT=ctx.sent is not None,
                SPIKES=spikes,
                **ctx.blocks,
            )
            del currents
            gweights = [
                _product(gcurrents, received),
                _product(gcurrents, sents),
                _product(gouts, sents),
            ]
        *gstate, gmem, gsyn = ghere
        return None, *gweights, gmem.sum(0), gsyn.sum(0), *gstate, None


def current_lif(
    x: Tensor,
    weights: CurrentWeights,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    surrogate: Surrogate,
    dropout: tuple[Dropout | None, Dropout | None],
) -> tuple[Tensor, Tensor, CurrentState]:
    rule = (known(surrogate), *dropout)
    z, out, *last = _CurrentLIF.apply(x, *weights, *parameters, *state, rule)
    return z, out, CurrentState(*last)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, recurrent, decay, threshold, v, z, rule):
        ctx.set_materialize_grads(False)
        ctx.surrogate, reset, fixed_point = rule
        kernels, (steps, streams, units) = _kernels(), currents.shape
        block = _block(units) if recurrent is not None else _UNITS_BLOCK
        ctx.grid = streams, -(-units // block)
        ctx.options = {
            "RESET": reset,
            "FIXED_POINT": fixed_point is not None,
            "RECURRENT": recurrent is not None,
            "BLOCK": block,
            **(_launch(block) if recurrent is not None else _launch(32)),
        }
        # not read without fixed point
        grid = (1.0, 0.0, 0.0) if fixed_point is None else bounds(*fixed_point)
        ctx.sizes = steps, streams, units, *grid
        currents, decay, threshold, v = (
            each.contiguous() for each in (currents, decay, threshold, v)
        )
        # not read without recurrence
        recurrent = decay if recurrent is None else recurrent.contiguous()
        transposed = decay if recurrent is decay else recurrent.T.contiguous()
        needed = any(ctx.needs_input_grad)
        segments = -(-steps // SEGMENT) if needed else 0
        checkpoints = v.new_empty(segments, streams, units)
        zs, last_v = v.new_empty(steps + 1, streams, units), torch.empty_like(v)
        zs[0] = z
        with _on(currents):
            kernels.lif_forward[ctx.grid](
                currents,
                transposed,
                decay,
                threshold,
                v,
                zs,
                last_v,
                checkpoints,
                *ctx.sizes,
                CHECKPOINTS=needed,
                **ctx.options,
            )
        constants = transposed, recurrent, decay, threshold
        ctx.save_for_backward(currents, zs, last_v, checkpoints, *constants)
        return zs[1:], last_v, zs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gzs, gv, gz):
        currents, zs, last_v, *others = ctx.saved_tensors
        kernels, (steps, streams, units, *_) = _kernels(), ctx.sizes
        glast = [_given(each, last_v) for each in (gv, gz)]
        gcurrents = last_v.new_empty(steps, streams, units)
        ghere = [torch.empty_like(last_v) for _ in range(3)]  # of the first state, and the decay
        scratch = last_v.new_empty(SEGMENT, 2, streams, units)
        with _on(currents):
            gzs, gz_row, spikes = _rows(gzs, last_v)
            kernels.lif_backward[ctx.grid](
                currents,
                zs,
                last_v,
                *others,
                gzs,
                gz_row,
                *glast,
                gcurrents,
                *ghere,
                scratch,
                *ctx.sizes,
                ctx.surrogate.slope,
                ctx.surrogate.peak,
                SHAPE=ctx.surrogate.shape,
                SPIKES=spikes,
                **ctx.options,
            )
            gweight = _product(gcurrents, zs[:-1]) if ctx.options["RECURRENT"] else None
        *gstate, gdecay = ghere
        return gcurrents, gweight, gdecay.sum(0), None, *gstate, None


def _per_unit(value: Tensor | float, currents: Tensor) -> Tensor:
    units = currents.shape[-1:]
    if isinstance(value, Tensor):
        return value.float().expand(units)
    return torch.full(units, value, device=currents.device)


def lif(
    currents: Tensor,
    recurrent: Tensor | None,
    parameters: LIFParameters,
    state: LIFState,
    *,
    surrogate: Surrogate,
    reset: Reset,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, LIFState]:
    if reset not in Reset.__args__:
        raise ValueError(f"unknown reset {reset!r}; known: {', '.join(Reset.__args__)}")
    rule = known(surrogate), reset, fixed_point
    constants = (_per_unit(value, currents) for value in parameters)
    z, *last = _LIF.apply(currents, recurrent, *constants, *state, rule)
    return z, LIFState(*last)


class _Integrator(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, decay, v):
        currents, decay, v = (each.contiguous() for each in (currents, decay, v))
        vs = _integrate(currents, decay, v, reverse=False)
        ctx.save_for_backward(decay, v, vs)
        return vs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gvs):
        decay, v, vs = ctx.saved_tensors
        gcurrents = _integrate(gvs.contiguous(), decay, torch.zeros_like(v), reverse=True)
        gdecay = (gcurrents[0] * v).sum(0) + (gcurrents[1:] * vs[:-1]).sum((0, 1))
        return gcurrents, gdecay, decay * gcurrents[0]


def _integrate(currents: Tensor, decay: Tensor, v: Tensor, *, reverse: bool) -> Tensor:
    vs = v.new_empty(currents.shape)
    with _on(currents):
        _kernels().integrator[(-(-v.numel() // _BLOCK),)](
            currents,
            decay,
            v,
            vs,
            *currents.shape,
            REVERSE=reverse,
            BLOCK=_BLOCK,
            enable_fp_fusion=False,
        )
    return vs


def integrator(currents: Tensor, decay: Tensor | float, membrane: Tensor) -> tuple[Tensor, Tensor]:
    membranes = _Integrator.apply(currents, _per_unit(decay, currents), membrane)
    return membranes, membranes[-1]


def current_integrator(
    currents: Tensor, parameters: CurrentParameters, state: CurrentState
) -> tuple[Tensor, CurrentState]:
    """Two integrators, one after the other: synapse and membrane."""
    arriving = torch.cat([state.arriving[None], currents])
    synapse, i = integrator(arriving[:-1], parameters.syn, state.i)
    before = torch.cat([state.i[None], synapse[:-1]])
    membranes, v = integrator((1 - parameters.mem) * before, parameters.mem, state.v)
    return membranes, CurrentState(v, i, arriving[-1])
