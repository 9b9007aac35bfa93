"""The integrators over time in compiled loops."""

import numpy as np
from torch import Tensor

from spikereach.ops.common import cpu, loops
from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.loops import NIL, copy
from spikereach.ops.current_lif.cpu import step, step_back
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState


@compiled
def current_forward(currents, _weight, constants, grid, span, state, vs, kept):
    """Fill membranes and, before each step, synaptic currents; in fixed point also both before they
    are stored; see `cpu.Loops`."""
    (v, i, a), (mem, syn), (lo, hi), is_ = state, constants, span, kept[0]
    z = np.zeros(hi - lo, np.float32)
    for t in range(len(currents)):
        copy(i, is_[t])
        step(z, v, i, a, mem, syn)
        if grid[0] > NIL:
            copy(v, kept[1, t])
            copy(i, kept[2, t])
            loops.store(v, grid)
            loops.store(i, grid)
        copy(currents[t, lo:hi], a)
        copy(v, vs[t, lo:hi])


@compiled
def current_backward(first, vs, kept, _weight, constants, grid, span, gvs, gstate, gradients):
    """Fill or add to the gradients; see `cpu.Loops`."""
    (first_v, _, _), (gv, gi, ga), (lo, hi) = first, gstate, span
    gcurrents, _, gconstants = gradients
    nothing = np.zeros(hi - lo, np.float32)
    through = np.empty(hi - lo, np.float32)
    for t in range(len(vs) - 1, -1, -1):
        outside = gvs[t, lo:hi]
        for e in range(len(gv)):
            gv[e] += outside[e]
        if grid[0] > NIL:
            loops.saturate(gv, kept[1, t], grid)
            loops.saturate(gi, kept[2, t], grid)
        copy(ga, gcurrents[t, lo:hi])
        before = nothing, vs[t - 1, lo:hi] if t else first_v, kept[0, t]
        step_back(before, nothing, nothing, constants, (gv, gi, ga), through, gconstants)


@compiled
def forward(currents, _weight, constants, grid, span, state, vs, kept):
    """Fill membranes, in fixed point also those before they are stored; see `cpu.Loops`."""
    (decay,), (v,), (lo, hi) = constants, state, span
    for t in range(len(currents)):
        current = currents[t, lo:hi]
        for e in range(len(v)):
            v[e] = decay[e] * v[e] + current[e]
        if grid[0] > NIL:
            copy(v, kept[0, t])
            loops.store(v, grid)
        copy(v, vs[t, lo:hi])


@compiled
def backward(first, vs, kept, _weight, constants, grid, span, gvs, gstate, gradients):
    """Fill or add to the gradients; see `cpu.Loops`."""
    (first_v,), (decay,), (gv,), (lo, hi) = first, constants, gstate, span
    gcurrents, _, (gdecay,) = gradients
    for t in range(len(vs) - 1, -1, -1):
        outside = gvs[t, lo:hi]
        for e in range(len(gv)):
            gv[e] += outside[e]
        if grid[0] > NIL:
            loops.saturate(gv, kept[0, t], grid)
        copy(gv, gcurrents[t, lo:hi])
        v = vs[t - 1, lo:hi] if t else first_v
        for e in range(len(gv)):
            gdecay[e] += gv[e] * v[e]
        for e in range(len(gv)):
            gv[e] *= decay[e]


def current_integrator(
    currents: Tensor,
    parameters: CurrentParameters,
    state: CurrentState,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, CurrentState]:
    passes = cpu.Loops(current_forward, current_backward, kept=3 if fixed_point else 1)
    membranes, *last = cpu.scan(passes, cpu.grid(fixed_point), currents, None, parameters, state)
    return membranes, CurrentState(*last)


def integrator(
    currents: Tensor,
    decay: Tensor | float,
    membrane: Tensor,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, Tensor]:
    passes = cpu.Loops(forward, backward, kept=1 if fixed_point else 0)
    decays = [cpu.per_unit(decay, currents)]
    return cpu.scan(passes, cpu.grid(fixed_point), currents, None, decays, [membrane])
