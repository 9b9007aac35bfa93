"""The scans over time on the CPU: autograd around the compiled loops of `neurons.kernels`.

Streams are cut into chunks, a choice that no number of threads enters. Threads work on chunks;
each chunk sums its share of the gradients of weights and constants, and the shares are added in
order, so that results do not depend on threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikereach.neurons import kernels
from spikereach.neurons.current_lif import CurrentParameters, CurrentState
from spikereach.neurons.dropout import Dropout
from spikereach.neurons.lif import LIFParameters, LIFState, Reset
from spikereach.neurons.surrogates import Surrogate

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


class _Chunks:
    """The streams of a batch in chunks of at least 32, at most 16 chunks."""

    def __init__(self, streams: int, units: int):
        size = max(32, -(-streams // 16))
        self.streams, self.units = streams, units
        starts = range(0, streams, size)
        self.bounds = [(s * units, min(s + size, streams) * units) for s in starts]

    def run(self, work: Callable[[int, int, int], None]) -> None:
        """Call ``work(chunk, lo, hi)`` for every chunk, on as many threads as PyTorch uses."""
        jobs = [(chunk, lo, hi) for chunk, (lo, hi) in enumerate(self.bounds)]
        threads = min(torch.get_num_threads(), len(jobs))
        if threads == 1:
            for job in jobs:
                work(*job)
        else:
            list(_pool(threads).map(lambda job: work(*job), jobs))

    def repeat(self, values: Tensor) -> np.ndarray:
        """One value per unit, repeated for the streams of the largest chunk."""
        largest = self.bounds[0][1] // self.units
        return values.detach().expand(largest, self.units).contiguous().view(-1).numpy()

    def shares(self) -> np.ndarray:
        """Zeros for the chunks' gradients of such values."""
        return np.zeros((len(self.bounds), self.bounds[0][1]), np.float32)

    def total(self, shares: np.ndarray) -> Tensor:
        """The shares added in order, one value per unit."""
        return torch.from_numpy(shares.reshape(-1, self.units).sum(0))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


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


def _matrix(weight: Tensor | None, units: int) -> np.ndarray:
    """The weight's memory; no rows for None."""
    if weight is None:
        return np.empty((0, units), np.float32)
    return weight.detach().contiguous().numpy()


def _mask(keep: Tensor | None) -> np.ndarray:
    return np.empty((0, 1), np.bool_) if keep is None else keep.contiguous().flatten(1).numpy()


def _add(shares: np.ndarray) -> Tensor:
    """The chunks' transposed shares of a weight's gradient, added in order."""
    total = shares[0]
    for share in shares[1:]:
        total += share
    return torch.from_numpy(total).T


def _constants(surrogate: Surrogate) -> tuple[int, np.float32, np.float32]:
    if surrogate.shape not in _SHAPES:
        raise ValueError(f"unknown surrogate {surrogate.shape!r}; known: {', '.join(_SHAPES)}")
    return _SHAPES[surrogate.shape], np.float32(surrogate.slope), np.float32(surrogate.peak)


class _CurrentLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, recurrent, mem, syn, v, i, a, surrogate, dropout):
        ctx.set_materialize_grads(False)
        steps, streams, units = currents.shape
        ctx.chunks = chunks = _Chunks(streams, units)
        ctx.constants = _constants(surrogate)
        ctx.scale = np.float32(1 if dropout is None else dropout.scale)
        keep = None if dropout is None else dropout.keep
        segments = -(-steps // kernels.SEGMENT) if any(ctx.needs_input_grad) else 0
        ctx.checkpoints = np.empty((segments, 3, streams * units), np.float32)
        ctx.save_for_backward(currents, recurrent, mem, syn, keep)
        z = torch.empty_like(currents, memory_format=torch.contiguous_format)
        state = [_copy(s, s) for s in (v, i, a)]
        arguments = _flat(currents, 2), _matrix(recurrent.T, units), _mask(keep), ctx.scale
        decays = chunks.repeat(mem), chunks.repeat(syn)
        flat_state, flat_z = [_flat(s, 1) for s in state], _flat(z, 2)

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.current_lif_forward(
                *arguments,
                *(d[: hi - lo] for d in decays),
                lo,
                hi,
                *(s[lo:hi] for s in flat_state),
                flat_z,
                ctx.checkpoints,
            )

        chunks.run(work)
        return z, *state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gz, gv, gi, ga):
        currents, recurrent, mem, syn, keep = ctx.saved_tensors
        chunks, units = ctx.chunks, currents.shape[-1]
        gcurrents = torch.empty_like(currents, memory_format=torch.contiguous_format)
        gstate = [_copy(g, currents[0]) for g in (gv, gi, ga)]
        gweight = np.zeros((len(chunks.bounds), units, units), np.float32)
        gmem, gsyn = chunks.shares(), chunks.shares()
        arguments = (
            _flat(currents, 2),
            _matrix(recurrent, units),
            _matrix(recurrent.T, units),
            _mask(keep),
            ctx.scale,
        )
        decays = chunks.repeat(mem), chunks.repeat(syn)
        flat_gz, flat_gcurrents = _flat(gz, 2), _flat(gcurrents, 2)
        flat_gstate = [_flat(g, 1) for g in gstate]

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.current_lif_backward(
                *arguments,
                *(d[: hi - lo] for d in decays),
                *ctx.constants,
                lo,
                hi,
                ctx.checkpoints,
                flat_gz,
                *(g[lo:hi] for g in flat_gstate),
                flat_gcurrents,
                gweight[chunk],
                gmem[chunk, : hi - lo],
                gsyn[chunk, : hi - lo],
            )

        chunks.run(work)
        constants = chunks.total(gmem), chunks.total(gsyn)
        return gcurrents, _add(gweight), *constants, *gstate, None, None


def current_lif(
    currents: Tensor,
    recurrent: Tensor,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    surrogate: Surrogate,
    dropout: Dropout | None,
) -> tuple[Tensor, CurrentState]:
    z, *last = _CurrentLIF.apply(currents, recurrent, *parameters, *state, surrogate, dropout)
    return z, CurrentState(*last)


class _CurrentIntegrator(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, mem, syn, v, i, a):
        ctx.set_materialize_grads(False)
        ctx.chunks = chunks = _Chunks(*currents.shape[1:])
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
        ctx.chunks = chunks = _Chunks(*currents.shape[1:])
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
        ctx.chunks = chunks = _Chunks(*currents.shape[1:])
        ctx.rule, ctx.constants = rule, _constants(surrogate)
        zs = torch.empty_like(currents, memory_format=torch.contiguous_format)
        vs = torch.empty_like(zs)
        last = _copy(v, v), _copy(z, z)
        ctx.save_for_backward(recurrent, decay, v, z, zs, vs)
        arguments = _flat(currents, 2), _matrix(None if recurrent is None else recurrent.T, units)
        decays = chunks.repeat(decay)
        flat_last, flat_zs, flat_vs = [_flat(s, 1) for s in last], _flat(zs, 2), _flat(vs, 2)

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.lif_forward(
                *arguments,
                decays[: hi - lo],
                *rule,
                lo,
                hi,
                *(s[lo:hi] for s in flat_last),
                flat_zs,
                flat_vs,
            )

        chunks.run(work)
        return zs, *last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gzs, gv, gz):
        recurrent, decay, first_v, first_z, zs, vs = ctx.saved_tensors
        chunks, units = ctx.chunks, zs.shape[-1]
        weight = _matrix(recurrent, units)
        gcurrents = torch.empty_like(zs)
        gstate = _copy(gv, first_v), _copy(gz, first_z)
        gweight = np.zeros((len(chunks.bounds), *weight.shape), np.float32)
        gdecay, decays = chunks.shares(), chunks.repeat(decay)
        outside = _flat(torch.zeros_like(zs) if gzs is None else gzs, 2)
        flat_zs, flat_vs, flat_gcurrents = (_flat(s, 2) for s in (zs, vs, gcurrents))
        first, flat_gstate = (
            [_flat(s, 1) for s in state] for state in ((first_v, first_z), gstate)
        )

        def work(chunk: int, lo: int, hi: int) -> None:
            kernels.lif_backward(
                *(s[lo:hi] for s in first),
                flat_zs,
                flat_vs,
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
    if reset not in _RESETS:
        raise ValueError(f"unknown reset {reset!r}; known: {', '.join(_RESETS)}")
    grid = lowest = highest = 0.0
    if fixed_point is not None:
        grid = 2.0 ** fixed_point[1]
        lowest, highest = -(2.0 ** fixed_point[0]), 2.0 ** fixed_point[0] - 1 / grid
    threshold, *bounds = map(np.float32, (float(parameters.threshold), grid, lowest, highest))
    rule = (threshold, _RESETS[reset], *bounds)
    decay = _per_unit(parameters.decay, currents)
    z, *last = _LIF.apply(currents, recurrent, decay, *state, rule, surrogate)
    return z, LIFState(*last)
