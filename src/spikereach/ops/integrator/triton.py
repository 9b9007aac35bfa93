"""The integrators over time in a Triton kernel."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikereach.ops.common.triton import ELEMENTS, counted, on, per_unit, place
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState


@triton.jit
def integrate(currents, decay_, v_, vs, sizes, REVERSE: tl.constexpr, BLOCK: tl.constexpr):
    """Fill the membranes; in reverse, from the last step to the first."""
    steps, streams, units = sizes
    element, row = place(0) * BLOCK + tl.arange(0, BLOCK), counted(streams) * units
    inside = element < row
    decay = tl.load(decay_ + element % units, mask=inside, other=0.0)
    v = tl.load(v_ + element, mask=inside, other=0.0)
    for step in range(steps):
        t = step
        if REVERSE:
            t = steps - 1 - step
        current = tl.load(currents + t * row + element, mask=inside, other=0.0).to(tl.float32)
        v = decay * v + current
        tl.store(vs + t * row + element, v, mask=inside)


def _integrate(currents: Tensor, decay: Tensor, v: Tensor, *, reverse: bool) -> Tensor:
    vs, grid = v.new_empty(currents.shape), (-(-v.numel() // ELEMENTS),)
    options = {"REVERSE": reverse, "BLOCK": ELEMENTS, "enable_fp_fusion": False}
    with on(currents):
        integrate[grid](currents, decay, v, vs, tuple(currents.shape), **options)
    return vs


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


def integrator(
    currents: Tensor, decay: Tensor | float, membrane: Tensor, _fixed_point: None = None
) -> tuple[Tensor, Tensor]:
    membranes = _Integrator.apply(currents, per_unit(decay, currents), membrane)
    return membranes, membranes[-1]


def current_integrator(
    currents: Tensor, parameters: CurrentParameters, state: CurrentState, _fixed_point: None
) -> tuple[Tensor, CurrentState]:
    """Two integrators, one after the other: synapse and membrane."""
    arriving = torch.cat([state.arriving[None], currents])
    synapse, i = integrator(arriving[:-1], parameters.syn, state.i)
    before = torch.cat([state.i[None], synapse[:-1]])
    membranes, v = integrator((1 - parameters.mem) * before, parameters.mem, state.v)
    return membranes, CurrentState(v, i, arriving[-1])
