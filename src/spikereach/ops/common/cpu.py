"""The scans over time on the CPU: autograd around the compiled loops of `neurons.kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikereach.ops.common import kernels
from spikereach.ops.common.chunks import Chunks
from spikereach.ops.common.dropout import Dropout
from spikereach.ops.common.fixed_point import bounds
from spikereach.ops.common.intrinsics import words
from spikereach.ops.common.surrogates import Surrogate, known
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState, CurrentWeights
from spikereach.ops.lif.step import LIFParameters, LIFState, Reset

_SHAPES = {
    "rational": kernels.RATIONAL,
    "triangle": kernels.TRIANGLE,
    "arctan": kernels.ARCTAN,
}
_RESETS = {
    "subtract": kernels.SUBTRACT,
    "zero": kernels.ZERO,
    "zero_and_input": kernels.ZERO_AND_INPUT,
    "none": kernels.NONE,
}


def fits(*tensors: Tensor | float | None) -> bool:
    """Whether this backend computes with these: float32 on the CPU."""
    return all(
        t.device.type == "cpu" and t.dtype == torch.float32
        for t in tensors
        if isinstance(t, Tensor)
    )


def _flat(tensor: Tensor | None, axes: int) -> np.ndarray:
    """The memory of (T, B, N) as (T, B N) or of (B, N) as (B N); empty for None."""
    if tensor is None:
        return np.empty((0,) * axes, np.float32)
    return tensor.detach().contiguous().flatten(-2).numpy()


def _copy(tensor: Tensor | None, like: Tensor) -> Tensor:
    """A writable copy; zeros for None."""
    return (torch.zeros_like(like) if tensor is None else tensor.detach()).clone(
        memory_format=torch.contiguous_format
    )


def _matrix(weight: Tensor) -> np.ndarray:
    return weight.detach().contiguous().numpy()


def as_spikes(x: Tensor) -> np.ndarray:
    """Contiguous inputs: bytes and float32 as they are, other types as float32."""
    x = x.view(torch.uint8) if x.dtype == torch.bool else x
    x = x if x.dtype == torch.uint8 else x.float()
    return x.detach().contiguous().numpy()


def drawn(dropout: Dropout | None) -> tuple[np.uint64, np.uint64, np.float32]:
    """Seed, bound and scale as the kernels take them."""
    if dropout is None:
        return np.uint64(0), np.uint64(0), np.float32(1)
    return np.uint64(dropout.seed), np.uint64(dropout.dropped), np.float32(dropout.scale)


def _add(shares: np.ndarray) -> Tensor:
    """The chunks' transposed shares of a weight's gradient, added in order."""
    total = shares[0]
    for share in shares[1:]:
        total += share
    return torch.from_numpy(total).T


def _constants(surrogate: Surrogate) -> tuple[int, np.float32, np.float32]:
    return _SHAPES[known(surrogate).shape], np.float32(surrogate.slope), np.float32(surrogate.peak)


class _CurrentLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, w_input, w_recurrent, w_output, mem, syn, v, i, a, rule):
        ctx.set_materialize_grads(False)
        ctx.surrogate, *dropouts = rule
        ctx.dropouts = [drawn(dropout) for dropout in dropouts]
        (steps, streams, _), (outputs, units) = x.shape, w_output.shape
        ctx.chunks = chunks = Chunks(streams, units)
        ctx.save_for_backward(x, w_input, w_recurrent, w_output, mem, syn)
        segments = -(-steps // kernels.SEGMENT) if any(ctx.needs_input_grad) else 0
        ctx.checkpoints = np.empty((segments, 3, streams * units), np.float32)
        # NumPy asks for huge pages, PyTorch does not: a fault for every 4 KiB takes longer.
        z = torch.from_numpy(np.empty((steps, streams, units), np.float32))
        out = v.new_empty(steps, streams, outputs)
        ctx.bits = [np.empty((steps, streams, words(n)), np.uint64) for n in (x.shape[2], units)]
        state = [_copy(s, s) for s in (v, i, a)]
        arguments = (
            as_spikes(x).reshape(steps, -1),
            *(_matrix(w.T) for w in (w_input, w_recurrent, w_output)),
        )
        decays = chunks.repeat(mem), chunks.repeat(syn)
        flat_state, flat_z, flat_out = [_flat(s, 1) for s in state], _flat(z, 2), _flat(out, 2)

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.current_lif_forward(
                *arguments,
                *ctx.dropouts,
                *(d[: hi - lo] for d in decays),
                lo // units,
                hi // units,
                *(s[lo:hi] for s in flat_state),
                flat_z,
                flat_out,
                *ctx.bits,
                ctx.checkpoints,
            )

        chunks.run(work)
        return z, out, *state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gz, gout, gv, gi, ga):
        x, *weights, mem, syn = ctx.saved_tensors
        w_input, w_recurrent, w_output = weights
        chunks, (outputs, units) = ctx.chunks, w_output.shape
        steps, streams, _ = x.shape
        gstate = [_copy(g, mem.expand(streams, -1)) for g in (gv, gi, ga)]
        if gout is None:
            gout = mem.new_zeros(steps, streams, outputs)
        if gz is not None and gz.stride(0) == 0:  # of a sum over time
            gz = gz[:1]
        shares = [np.zeros((len(chunks.bounds), *w.T.shape), np.float32) for w in weights]
        gmem, gsyn = chunks.shares(), chunks.shares()
        arguments = (
            as_spikes(x).reshape(steps, -1),
            _matrix(w_input.T),
            _matrix(w_recurrent),
            _matrix(w_recurrent.T),
            _matrix(w_output),
        )
        constants = _constants(ctx.surrogate)
        decays = chunks.repeat(mem), chunks.repeat(syn)
        outside, flat_gstate = (_flat(gz, 2), _flat(gout, 2)), [_flat(g, 1) for g in gstate]

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.current_lif_backward(
                *arguments,
                *ctx.dropouts,
                *(d[: hi - lo] for d in decays),
                *constants,
                lo // units,
                hi // units,
                *ctx.bits,
                ctx.checkpoints,
                *outside,
                *(g[lo:hi] for g in flat_gstate),
                *(share[chunk] for share in shares),
                gmem[chunk, : hi - lo],
                gsyn[chunk, : hi - lo],
            )

        chunks.run(work)
        gweights = [_add(share) for share in shares]
        return None, *gweights, chunks.total(gmem), chunks.total(gsyn), *gstate, None


def current_lif(
    x: Tensor,
    weights: CurrentWeights,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    surrogate: Surrogate,
    dropout: tuple[Dropout | None, Dropout | None],
) -> tuple[Tensor, Tensor, CurrentState]:
    rule = (surrogate, *dropout)
    z, out, *last = _CurrentLIF.apply(x, *weights, *parameters, *state, rule)
    return z, out, CurrentState(*last)


class _CurrentIntegrator(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, mem, syn, v, i, a):
        ctx.set_materialize_grads(False)
        ctx.chunks = chunks = Chunks(*currents.shape[1:])
        vs = torch.empty_like(currents, memory_format=torch.contiguous_format)
        is_ = torch.empty_like(vs)
        state = [_copy(s, s) for s in (v, i, a)]
        ctx.save_for_backward(mem, syn, v, vs, is_)
        decays = chunks.repeat(mem), chunks.repeat(syn)
        flat_state = [_flat(s, 1) for s in state]
        flat_currents, flat_vs, flat_is = (_flat(s, 2) for s in (currents, vs, is_))

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.current_integrator_forward(
                flat_currents,
                *(d[: hi - lo] for d in decays),
                lo,
                hi,
                *(s[lo:hi] for s in flat_state),
                flat_vs,
                flat_is,
            )

        chunks.run(work)
        return vs, *state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gvs, gv, gi, ga):
        mem, syn, first, vs, is_ = ctx.saved_tensors
        chunks = ctx.chunks
        gcurrents = torch.empty_like(vs)
        gstate = [_copy(g, first) for g in (gv, gi, ga)]
        gmem, gsyn = chunks.shares(), chunks.shares()
        decays = chunks.repeat(mem), chunks.repeat(syn)
        outside = _flat(torch.zeros_like(vs) if gvs is None else gvs, 2)
        flat_vs, flat_is, flat_gcurrents = (_flat(s, 2) for s in (vs, is_, gcurrents))
        flat_first, flat_gstate = _flat(first, 1), [_flat(g, 1) for g in gstate]

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.current_integrator_backward(
                flat_first[lo:hi],
                flat_vs,
                flat_is,
                *(d[: hi - lo] for d in decays),
                lo,
                hi,
                outside,
                *(g[lo:hi] for g in flat_gstate),
                flat_gcurrents,
                gmem[chunk, : hi - lo],
                gsyn[chunk, : hi - lo],
            )

        chunks.run(work)
        return gcurrents, chunks.total(gmem), chunks.total(gsyn), *gstate


def current_integrator(
    currents: Tensor, parameters: CurrentParameters, state: CurrentState
) -> tuple[Tensor, CurrentState]:
    membranes, *last = _CurrentIntegrator.apply(currents, *parameters, *state)
    return membranes, CurrentState(*last)


class _Integrator(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, decay, v):
        ctx.set_materialize_grads(False)
        ctx.chunks = chunks = Chunks(*currents.shape[1:])
        vs = torch.empty_like(currents, memory_format=torch.contiguous_format)
        last = _copy(v, v)
        ctx.save_for_backward(decay, v, vs)
        decays, flat_last = chunks.repeat(decay), _flat(last, 1)
        flat_currents, flat_vs = _flat(currents, 2), _flat(vs, 2)

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.integrator_forward(
                flat_currents, decays[: hi - lo], lo, hi, flat_last[lo:hi], flat_vs
            )

        chunks.run(work)
        return vs, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gvs, gv):
        decay, first, vs = ctx.saved_tensors
        chunks = ctx.chunks
        gcurrents, gv, gdecay = torch.empty_like(vs), _copy(gv, first), chunks.shares()
        outside = _flat(torch.zeros_like(vs) if gvs is None else gvs, 2)
        decays, flat_first, flat_gv = chunks.repeat(decay), _flat(first, 1), _flat(gv, 1)
        flat_vs, flat_gcurrents = _flat(vs, 2), _flat(gcurrents, 2)

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.integrator_backward(
                flat_first[lo:hi],
                flat_vs,
                decays[: hi - lo],
                lo,
                hi,
                outside,
                flat_gv[lo:hi],
                flat_gcurrents,
                gdecay[chunk, : hi - lo],
            )

        chunks.run(work)
        return gcurrents, chunks.total(gdecay), gv


def integrator(currents: Tensor, decay: Tensor | float, membrane: Tensor) -> tuple[Tensor, Tensor]:
    return _Integrator.apply(currents, _per_unit(decay, currents), membrane)


def _per_unit(value: Tensor | float, currents: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=currents.dtype).expand(currents.shape[-1])


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, recurrent, decay, v, z, rule, surrogate):
        ctx.set_materialize_grads(False)
        units = currents.shape[-1]
        ctx.chunks = chunks = Chunks(*currents.shape[1:])
        ctx.rule, ctx.constants = rule, _constants(surrogate)
        zs = torch.empty_like(currents, memory_format=torch.contiguous_format)
        vs = [zs.new_empty(len(zs), hi - lo) for lo, hi in chunks.bounds]
        last = _copy(v, v), _copy(z, z)
        ctx.save_for_backward(recurrent, decay, v, z, *vs)
        weight = currents.new_empty(0, units) if recurrent is None else recurrent.T
        arguments = _flat(currents, 2), _matrix(weight)
        decays = chunks.repeat(decay)
        flat_last, flat_zs = [_flat(s, 1) for s in last], _flat(zs, 2)

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.lif_forward(
                *arguments,
                decays[: hi - lo],
                *rule,
                lo,
                hi,
                *(s[lo:hi] for s in flat_last),
                flat_zs,
                vs[chunk].numpy(),
            )

        chunks.run(work)
        return zs, *last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gzs, gv, gz):
        recurrent, decay, first_v, first_z, *vs = ctx.saved_tensors
        chunks, (streams, units) = ctx.chunks, first_v.shape
        weight = _matrix(first_v.new_empty(0, units) if recurrent is None else recurrent)
        gcurrents = first_v.new_empty(len(vs[0]), streams, units)
        gstate = _copy(gv, first_v), _copy(gz, first_z)
        gweight = np.zeros((len(chunks.bounds), *weight.shape), np.float32)
        gdecay, decays = chunks.shares(), chunks.repeat(decay)
        outside = _flat(torch.zeros_like(gcurrents) if gzs is None else gzs, 2)
        flat_gcurrents = _flat(gcurrents, 2)
        first, flat_gstate = (
            [_flat(s, 1) for s in state] for state in ((first_v, first_z), gstate)
        )

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.lif_backward(
                *(s[lo:hi] for s in first),
                vs[chunk].numpy(),
                weight,
                decays[: hi - lo],
                *ctx.rule,
                *ctx.constants,
                lo,
                hi,
                outside,
                *(g[lo:hi] for g in flat_gstate),
                flat_gcurrents,
                gweight[chunk],
                gdecay[chunk, : hi - lo],
            )

        chunks.run(work)
        gweight = None if recurrent is None else _add(gweight)
        return gcurrents, gweight, chunks.total(gdecay), *gstate, None, None


def fixed_point_grid(
    fixed_point: tuple[int, int] | None,
) -> tuple[np.float32, np.float32, np.float32]:
    """Steps per unit, lowest and highest value of a fixed-point format; zeros for None."""
    scale, lowest, highest = (0, 0, 0) if fixed_point is None else bounds(*fixed_point)
    return np.float32(scale), np.float32(lowest), np.float32(highest)


def lif_rule(
    threshold: Tensor | float, reset: Reset, fixed_point: tuple[int, int] | None
) -> tuple[np.float32, int, np.float32, np.float32, np.float32]:
    """Threshold, reset and grid as `kernels.lif_forward` takes them.

    Raises:
        ValueError: unknown reset.
    """
    if reset not in _RESETS:
        raise ValueError(f"unknown reset {reset!r}; known: {', '.join(_RESETS)}")
    return np.float32(float(threshold)), _RESETS[reset], *fixed_point_grid(fixed_point)


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
    rule = lif_rule(parameters.threshold, reset, fixed_point)
    decay = _per_unit(parameters.decay, currents)
    z, *last = _LIF.apply(currents, recurrent, decay, *state, rule, surrogate)
    return z, LIFState(*last)
