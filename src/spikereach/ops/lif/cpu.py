"""The neuron over time in compiled loops."""

import numpy as np
from torch import Tensor

from spikereach.ops.common import cpu, loops
from spikereach.ops.common.compiling import compiled, inlined
from spikereach.ops.common.fixed_point import Format
from spikereach.ops.common.intrinsics import WIDTH, part
from spikereach.ops.common.loops import ALL, NIL, ONE
from spikereach.ops.lif.step import RESETS, LIFState, Reset, known_reset, silent

SUBTRACT, ZERO, ZERO_AND_INPUT = map(list(RESETS).index, ("subtract", "zero", "zero_and_input"))


def rule_of(
    threshold: Tensor | float, reset: Reset, fixed_point: Format | None
) -> tuple[np.float32, int, tuple[np.float32, np.float32, np.float32]]:
    """Threshold, reset and grid as the loops take them."""
    code = list(RESETS).index(known_reset(reset))
    return np.float32(float(threshold)), code, cpu.grid(fixed_point)


@inlined
def step(received, v, z, decay, rule, new):
    """`lif_step`; v and z in place, ``new`` gets the membrane before it is stored."""
    threshold, reset, grid = rule
    if reset == SUBTRACT:
        for e in range(len(new)):
            new[e] = decay[e] * v[e] + received[e] - z[e] * threshold
    elif reset == ZERO:
        for e in range(len(new)):
            new[e] = decay[e] * (v[e] * (ONE - z[e])) + received[e]
    elif reset == ZERO_AND_INPUT:
        for e in range(len(new)):
            new[e] = (decay[e] * v[e] + received[e]) * (ONE - z[e])
    else:
        for e in range(len(new)):
            new[e] = decay[e] * v[e] + received[e]
    loops.snap(new, grid, v)
    loops.fire(v, threshold, z)


@inlined
def step_back(v, z, decay, reset, g, gv, gdecay):
    """Gradients of currents and v, in place and in ``gv``, from that of the new membrane."""
    if reset == ZERO_AND_INPUT:
        for e in range(len(g)):
            g[e] *= ONE - z[e]
    loops.copy(g, gv)
    if reset == ZERO:
        for e in range(len(g)):
            gv[e] *= ONE - z[e]
    for e in range(len(g)):
        gdecay[e] += gv[e] * v[e]
    for e in range(len(g)):
        gv[e] *= decay[e]


@compiled
def forward(currents, weight_t, constants, rules, span, state, zs, kept):
    """Fill spikes, and membranes before they are stored; see `cpu.Loops`."""
    rule, _ = rules
    (decay,), (v, z), (lo, hi), vs = constants, state, span, kept[0]
    received = np.zeros(hi - lo, np.float32)
    units = weight_t.shape[1]
    words = np.empty((units + WIDTH - 1) // WIDTH, np.uint64)
    for t in range(len(currents)):
        current, new = currents[t, lo:hi], vs[t]
        loops.clear(received)
        if len(weight_t):
            for s in range(len(z) // units):
                fired = part(z, s, units)
                loops.spikes(fired, s, ALL, words)
                loops.send(words, fired, ONE, weight_t, part(received, s, units))
        for e in range(len(received)):
            received[e] += current[e]
        step(received, v, z, decay, rule, new)
        loops.copy(z, zs[t, lo:hi])


@compiled
def backward(first, zs, kept, weight, constants, rules, span, gzs, gstate, gradients):
    """Fill or add to the gradients; see `cpu.Loops`."""
    rule, surrogate = rules
    threshold, reset, grid = rule
    (decay,), (first_v, first_z), (lo, hi), vs = constants, first, span, kept[0]
    (gv, gz), (gcurrents, gweight_t, (gdecay,)) = gstate, gradients
    size, units = hi - lo, weight.shape[1]
    words = np.empty((units + WIDTH - 1) // WIDTH, np.uint64)
    stored = np.empty(size, np.float32)
    slopes = np.empty(size, np.float32)
    loops.snap(vs[len(vs) - 1], grid, stored)
    for t in range(len(vs) - 1, -1, -1):
        outside, new, g = gzs[t, lo:hi], vs[t], gcurrents[t, lo:hi]
        loops.derivative(surrogate, stored, threshold, slopes)
        for e in range(size):
            g[e] = gv[e] + slopes[e] * (outside[e] + gz[e])
        if grid[0] > NIL:
            loops.saturate(g, new, grid)
        z = zs[t - 1, lo:hi] if t else first_z
        if t:
            loops.snap(vs[t - 1], grid, stored)
        else:
            loops.copy(first_v, stored)
        step_back(stored, z, decay, reset, g, gv, gdecay)
        if len(weight):
            for s in range(size // units):
                fired = part(z, s, units)
                loops.spikes(fired, s, ALL, words)
                loops.learn(words, fired, ONE, part(g, s, units), gweight_t)
            np.dot(g.reshape(-1, units), weight, gz.reshape(-1, units))
        else:
            loops.clear(gz)


def lif(currents, recurrent, parameters, state, *, surrogate, reset, fixed_point):
    """As `scan_lif`."""
    state = silent(currents) if state is None else state
    weight = None if recurrent is None else recurrent.weight.to(currents.dtype)
    rules = rule_of(parameters.threshold, reset, fixed_point), cpu.constants(surrogate)
    decay = cpu.per_unit(parameters.decay, currents)
    z, *last = cpu.scan(LOOPS, rules, currents, weight, [decay], state)
    return z, LIFState(*last)


LOOPS = cpu.Loops(forward, backward, kept=1)
