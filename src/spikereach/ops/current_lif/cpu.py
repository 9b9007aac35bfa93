"""The neuron over time in compiled loops.

The forward pass keeps a checkpoint of its state every `SEGMENT` steps and, as bits, what was sent,
from which the backward pass computes the membranes again, in fixed point those before they are
stored, too. `received` and `sent` are bits (T, B, words), which inputs and spikes are not dropped;
checkpoints are (segments, 3, B N) or empty.
"""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from spikereach.ops.common import cpu, loops
from spikereach.ops.common.chunks import Chunks
from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.dropout import LANES
from spikereach.ops.common.intrinsics import part, words
from spikereach.ops.common.loops import NIL, ONE
from spikereach.ops.current_lif.step import CurrentState

SEGMENT = 16
WIDE = 256
"""Units from which OpenBLAS (0.3.30, with AVX-512) multiplies with a transposed matrix in a tenth
less time; with 64 units it takes a third more."""


@compiled
def step(z, v, i, a, mem, syn):
    """v and i of `current_lif_step`, before they are stored, in place; ``z`` zero everywhere: the
    integrator."""
    for e in range(len(v)):
        v[e] = (mem[e] * v[e] + (ONE - mem[e]) * i[e]) * (ONE - z[e])
    for e in range(len(i)):
        i[e] = syn[e] * i[e] + a[e]


@compiled
def step_back(before, slopes, gz, constants, gstate, through, gconstants):
    """Gradients of one step, in place, from those of the state after it; ``before``: z, v, i."""
    (z, v, i), (mem, syn) = before, constants
    (gv, gi, ga), (gmem, gsyn) = gstate, gconstants
    for e in range(len(gv)):
        through[e] = (ONE - z[e]) * gv[e]
    for e in range(len(gv)):
        gmem[e] += through[e] * (v[e] - i[e])
    for e in range(len(gv)):
        gsyn[e] += gi[e] * i[e]
    for e in range(len(gv)):
        ga[e] = gi[e]
    for e in range(len(gv)):
        gi[e] = syn[e] * gi[e] + (ONE - mem[e]) * through[e]
    for e in range(len(gv)):
        gv[e] = mem[e] * through[e] + slopes[e] * gz[e]


@compiled
def forward(x, weights_t, constants, rule, streams, state, outputs, kept):
    """Fill spikes and outputs of the ``streams`` from one to before another; state in place."""
    (input_t, recurrent_t, output_t), (mem, syn), (v, i, a) = weights_t, constants, state
    (x_dropout, dropout, grid), (start, stop), (zs, outs) = rule, streams, outputs
    received, sent, checkpoints = kept
    (inputs, units), channels = input_t.shape, output_t.shape[1]
    number, lo, hi = x.shape[1] // inputs, start * units, stop * units
    for t in range(len(x)):
        if t % SEGMENT == 0 and len(checkpoints):
            loops.copy(v, checkpoints[t // SEGMENT, 0, lo:hi])
            loops.copy(i, checkpoints[t // SEGMENT, 1, lo:hi])
            loops.copy(a, checkpoints[t // SEGMENT, 2, lo:hi])
        fired = zs[t, lo:hi]
        loops.fire(v, ONE, fired)
        step(fired, v, i, a, mem, syn)
        loops.store(v, grid)
        loops.store(i, grid)
        loops.clear(a)
        for s in range(stop - start):
            row = t * number + start + s
            now, z = part(x, row, inputs), part(zs, row, units)
            arriving, out = part(a, s, units), part(outs, row, channels)
            bits = part(received, row, received.shape[2])
            loops.spikes(now, row, x_dropout, bits)
            loops.send(bits, now, x_dropout[2], input_t, arriving)
            bits = part(sent, row, sent.shape[2])
            loops.spikes(z, row, dropout, bits)
            loops.send(bits, z, dropout[2], recurrent_t, arriving)
            loops.clear(out)
            loops.send(bits, z, dropout[2], output_t, out)


@compiled
def backward(x, weights, constants, rule, streams, kept, outside, gstate, gradients):
    """Fill or add to the gradients; ``gstate`` in place from the last state to the first.

    ``weights``: of inputs, transposed; of recurrence, as it is and transposed; of outputs. Of the
    gradients ``outside``, those of spikes have one row per step, one for all steps, or none.
    """
    (input_t, recurrent, recurrent_t, output), (mem, syn) = weights, constants
    (x_dropout, dropout, grid, surrogate), (start, stop) = rule, streams
    (received, sent, checkpoints), (gzs, gouts), (gv, gi, ga) = kept, outside, gstate
    (ginput_t, grecurrent_t, goutput_t), gconstants = gradients
    (inputs, units), channels, steps = input_t.shape, len(output), len(x)
    number, lo, hi = x.shape[1] // inputs, start * units, stop * units
    size, here = hi - lo, stop - start
    zs = np.empty((SEGMENT, size), np.float32)
    vs = np.empty((SEGMENT, size), np.float32)
    is_ = np.empty((SEGMENT, size), np.float32)
    new_vs = np.empty((SEGMENT, size), np.float32)
    new_is = np.empty((SEGMENT, size), np.float32)
    v = np.empty(size, np.float32)
    i = np.empty(size, np.float32)
    a = np.empty(size, np.float32)
    # The gradient of i is that of a one step earlier: both go back to the spikes of two steps in
    # one matrix product, which is faster than two.
    both = np.empty((2, size), np.float32)
    products = np.empty((2, size), np.float32)
    loops.copy(ga, both[0])
    loops.copy(gi, both[1])
    slopes = np.empty(size, np.float32)
    through = np.empty(size, np.float32)
    drawn = np.empty((units + LANES - 1) // LANES, np.uint64)
    lanes = drawn.view(np.uint16)
    for segment in range((steps - 1) // SEGMENT, -1, -1):
        t0, t1 = segment * SEGMENT, min((segment + 1) * SEGMENT, steps)
        loops.copy(checkpoints[segment, 0, lo:hi], v)
        loops.copy(checkpoints[segment, 1, lo:hi], i)
        loops.copy(checkpoints[segment, 2, lo:hi], a)
        for t in range(t0, t1):
            k = t - t0
            loops.copy(v, vs[k])
            loops.copy(i, is_[k])
            loops.fire(v, ONE, zs[k])
            step(zs[k], v, i, a, mem, syn)
            if grid[0] > NIL:
                loops.copy(v, new_vs[k])
                loops.copy(i, new_is[k])
                loops.store(v, grid)
                loops.store(i, grid)
            loops.clear(a)
            for s in range(here):
                row, slot = t * number + start + s, k * here + s
                now, z, arriving = part(x, row, inputs), part(zs, slot, units), part(a, s, units)
                bits = part(received, row, received.shape[2])
                loops.send(bits, now, x_dropout[2], input_t, arriving)
                bits = part(sent, row, sent.shape[2])
                loops.send(bits, z, dropout[2], recurrent_t, arriving)
        for t in range(t1 - 1, t0 - 1, -1):
            k, turn = t - t0, (t1 - 1 - t) % 2
            if grid[0] > NIL:
                loops.saturate(gv, new_vs[k], grid)
                loops.saturate(both[1], new_is[k], grid)
            if turn == 0 and units > WIDE:
                np.dot(both.reshape(-1, units), recurrent_t.T, products.reshape(-1, units))
            elif turn == 0:
                np.dot(both.reshape(-1, units), recurrent, products.reshape(-1, units))
            gz = products[turn]
            for s in range(here):
                row, slot = t * number + start + s, k * here + s
                now, z = part(x, row, inputs), part(zs, slot, units)
                arriving, out = part(both, s, units), part(gouts, row, channels)
                bits = part(received, row, received.shape[2])
                loops.learn(bits, now, x_dropout[2], arriving, ginput_t)
                bits = part(sent, row, sent.shape[2])
                loops.learn(bits, z, dropout[2], arriving, grecurrent_t)
                loops.learn(bits, z, dropout[2], out, goutput_t)
                back = part(gz, s, units)
                for o in range(channels):
                    for n in range(units):
                        back[n] += out[o] * output[o, n]
                loops.drop(back, row, dropout, drawn, lanes)
            if len(gzs):
                outer = gzs[t % len(gzs), lo:hi]
                for e in range(size):
                    gz[e] += outer[e]
            loops.derivative(surrogate, vs[k], ONE, slopes)
            before, gnow = (zs[k], vs[k], is_[k]), (gv, both[1], both[0])
            step_back(before, slopes, gz, constants, gnow, through, gconstants)
    loops.copy(both[0], ga)
    loops.copy(both[1], gi)


class _CurrentLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, w_input, w_recurrent, w_output, mem, syn, v, i, a, rule):
        ctx.set_materialize_grads(False)
        surrogate, dropout, fixed_point = rule
        drawn = *map(cpu.drawn, dropout), cpu.grid(fixed_point)
        ctx.rule = *drawn, cpu.constants(surrogate)
        (steps, streams, _), (outputs, units) = x.shape, w_output.shape
        ctx.chunks = chunks = Chunks(streams, units)
        ctx.save_for_backward(x, w_input, w_recurrent, w_output, mem, syn)
        # NumPy asks for huge pages, PyTorch does not: a fault for every 4 KiB takes longer.
        z = torch.from_numpy(np.empty((steps, streams, units), np.float32))
        out = v.new_empty(steps, streams, outputs)
        segments = -(-steps // SEGMENT) if any(ctx.needs_input_grad) else 0
        bits = [np.empty((steps, streams, words(n)), np.uint64) for n in (x.shape[2], units)]
        ctx.kept = *bits, np.empty((segments, 3, streams * units), np.float32)
        state = [cpu.copied(s, s) for s in (v, i, a)]
        flat_x = cpu.as_spikes(x).reshape(steps, -1)
        weights_t = tuple(cpu.matrix(w.T) for w in (w_input, w_recurrent, w_output))
        decays = chunks.repeat(mem), chunks.repeat(syn)
        flat_state, outs = [cpu.flat(s, 1) for s in state], (cpu.flat(z, 2), cpu.flat(out, 2))

        def work(chunk: int, lo: int, hi: int) -> None:
            here, states = cpu.cut(decays, 0, hi - lo), cpu.cut(flat_state, lo, hi)
            span = lo // units, hi // units
            forward(flat_x, weights_t, here, drawn, span, states, outs, ctx.kept)

        chunks.run(work)
        return z, out, *state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gz, gout, gv, gi, ga):
        x, *weights, mem, syn = ctx.saved_tensors
        w_input, w_recurrent, w_output = weights
        chunks, (outputs, units) = ctx.chunks, w_output.shape
        steps, streams, _ = x.shape
        gstate = [cpu.copied(g, mem.expand(streams, -1)) for g in (gv, gi, ga)]
        if gout is None:
            gout = mem.new_zeros(steps, streams, outputs)
        if gz is not None and gz.stride(0) == 0:  # of a sum over time
            gz = gz[:1]
        gweights = [np.zeros((len(chunks.bounds), *w.T.shape), np.float32) for w in weights]
        gdecays = chunks.shares(), chunks.shares()
        flat_x = cpu.as_spikes(x).reshape(steps, -1)
        sources = w_input.T, w_recurrent, w_recurrent.T, w_output
        matrices = tuple(cpu.matrix(w) for w in sources)
        decays = chunks.repeat(mem), chunks.repeat(syn)
        outside, flat_gstate = (
            (cpu.flat(gz, 2), cpu.flat(gout, 2)),
            [cpu.flat(g, 1) for g in gstate],
        )

        def work(chunk: int, lo: int, hi: int) -> None:
            here, gstates = cpu.cut(decays, 0, hi - lo), cpu.cut(flat_gstate, lo, hi)
            span, gdecay = (lo // units, hi // units), [g[chunk] for g in gdecays]
            gradients = tuple(g[chunk] for g in gweights), cpu.cut(gdecay, 0, hi - lo)
            rest = ctx.kept, outside, gstates, gradients
            backward(flat_x, matrices, here, ctx.rule, span, *rest)

        chunks.run(work)
        gweights = map(cpu.added, gweights)
        return None, *gweights, *map(chunks.total, gdecays), *gstate, None


def current_lif(x, layers, parameters, state, *, surrogate, dropout, fixed_point):
    """As `scan_current_lif`."""
    rule = surrogate, dropout, fixed_point
    z, out, *last = _CurrentLIF.apply(x, *layers.weights, *parameters, *state, rule)
    return z, out, CurrentState(*last)
