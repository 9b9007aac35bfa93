"""The integrators over time in compiled loops."""

import numpy as np
from torch import Tensor

from spikereach.ops.common import cpu
from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.loops import copy
from spikereach.ops.current_lif.cpu import step, step_back
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState


@compiled
def current_forward(currents, _weight, constants, _rule, span, state, vs, kept):
    """Fill membranes and, before each step, synaptic currents; see `cpu.Loops`."""
    (v, i, a), (mem, syn), (lo, hi), is_ = state, constants, span, kept[0]
    z = np.zeros(hi - lo, np.float32)
    for t in range(len(currents)):
        copy(i, is_[t])
        step(z, v, i, a, mem, syn)
        copy(currents[t, lo:hi], a)
        copy(v, vs[t, lo:hi])


@compiled
def current_backward(first, vs, kept, _weight, constants, _rule, span, gvs, gstate, gradients):
    """Fill or add to the gradients; see `cpu.Loops`."""
    (first_v, _, _), (gv, gi, ga), (lo, hi) = first, gstate, span
    gcurrents, _, gconstants = gradients
    nothing = np.zeros(hi - lo, np.float32)
    through = np.empty(hi - lo, np.float32)
    for t in range(len(vs) - 1, -1, -1):
        outside = gvs[t, lo:hi]
        for e in range(len(gv)):
            gv[e] += outside[e]
        copy(ga, gcurrents[t, lo:hi])
        before = nothing, vs[t - 1, lo:hi] if t else first_v, kept[0, t]
        step_back(before, nothing, nothing, constants, (gv, gi, ga), through, gconstants)


@compiled
def forward(currents, _weight, constants, _rule, span, state, vs, _kept):
    """Fill membranes; see `cpu.Loops`."""
    (decay,), (v,), (lo, hi) = constants, state, span
    for t in range(len(currents)):
        current = currents[t, lo:hi]
        for e in range(len(v)):
            v[e] = decay[e] * v[e] + current[e]
        copy(v, vs[t, lo:hi])


@compiled
def backward(first, vs, _kept, _weight, constants, _rule, span, gvs, gstate, gradients):
    """Fill or add to the gradients; see `cpu.Loops`."""
    (first_v,), (decay,), (gv,), (lo, hi) = first, constants, gstate, span
    gcurrents, _, (gdecay,) = gradients
    for t in range(len(vs) - 1, -1, -1):
        outside = gvs[t, lo:hi]
        for e in range(len(gv)):
            gv[e] += outside[e]
        copy(gv, gcurrents[t, lo:hi])
        v = vs[t - 1, lo:hi] if t else first_v
        for e in range(len(gv)):
            gdecay[e] += gv[e] * v[e]
        for e in range(len(gv)):
            gv[e] *= decay[e]


def current_integrator(
    currents: Tensor, parameters: CurrentParameters, state: CurrentState
) -> tuple[Tensor, CurrentState]:
    loops = cpu.Loops(current_forward, current_backward, kept=1)
    membranes, *last = cpu.scan(loops, (), currents, None, parameters, state)
    return membranes, CurrentState(*last)


def integrator(currents: Tensor, decay: Tensor | float, membrane: Tensor) -> tuple[Tensor, Tensor]:
    loops, decays = cpu.Loops(forward, backward, kept=0), [cpu.per_unit(decay, currents)]
    return cpu.scan(loops, (), currents, None, decays, [membrane])
