"""Compiled loops of the CPU backend: one chunk of streams through all steps.

State, spikes and constants of a chunk stay in cache. Spikes are rare: only units that fire add
to the recurrent input and to the recurrent weight's gradient. The forward pass of the recurrent
current-based neuron keeps a checkpoint of its state every `SEGMENT` steps, from which the
backward pass computes the membranes again. No fast-math: each product and sum is rounded as in
PyTorch.

Arrays are float32 and C-contiguous. Streams and units share an axis of ``B N`` elements, of
which a chunk is the slice ``lo:hi``; sequences are (T, B N), states (B N), and constants and
their gradients are repeated for each stream of the chunk. Each loop writes one array and reads
few, or the compiler would not vectorise it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SEGMENT = 32
BLOCK = 16  # elements searched for spikes at once

# Codes of `Surrogate.shape` and `Reset`.
RATIONAL, TRIANGLE, ARCTAN = 0, 1, 2
SUBTRACT, ZERO, ZERO_AND_INPUT, NONE = 0, 1, 2, 3

ONE = np.float32(1)
NIL = np.float32(0)

compiled = njit(cache=True, nogil=True)


@compiled
def _fire(v, threshold, z):
    for e in range(len(z)):
        z[e] = ONE if v[e] > threshold else NIL


@compiled
def _derivative(shape, slope, peak, v, threshold, out):
    """The surrogate derivative at membranes ``v``."""
    if shape == RATIONAL:
        for e in range(len(out)):
            x = slope * abs(v[e] - threshold) + ONE
            out[e] = peak / (x * x)
    elif shape == TRIANGLE:
        for e in range(len(out)):
            out[e] = peak * max(ONE - slope * abs(v[e] - threshold), NIL)
    else:
        for e in range(len(out)):
            x = slope * (v[e] - threshold)
            out[e] = peak / (ONE + x * x)


@compiled
def _events(z, keep, events):
    """List the elements that fire (and are kept); their number is returned."""
    count = 0
    for start in range(0, len(z), BLOCK):
        stop = min(start + BLOCK, len(z))
        most = NIL
        for e in range(start, stop):
            most = max(most, z[e])
        if most > NIL:
            for e in range(start, stop):
                if z[e] > NIL and (not len(keep) or keep[e]):
                    events[count] = e
                    count += 1
    return count


@compiled
def _send(events, scale, weight_t, out):
    """Add the rows of the transposed weight that belong to the units that fire."""
    units = weight_t.shape[1]
    for e in events:
        stream = e // units * units
        row = weight_t[e - stream]
        received = out[stream : stream + units]
        for n in range(units):
            received[n] += scale * row[n]


@compiled
def _learn(events, scale, gradient, gweight_t):
    """Add the receivers' gradients to the rows of the units that fired."""
    units = gweight_t.shape[1]
    for e in events:
        stream = e // units * units
        row = gweight_t[e - stream]
        received = gradient[stream : stream + units]
        for n in range(units):
            row[n] += scale * received[n]


@compiled
def _current_step(z, v, i, a, mem, syn):
    """v and i of the current-based neuron, in place; ``z`` zero everywhere: the integrator."""
    for e in range(len(v)):
        v[e] = (mem[e] * v[e] + (ONE - mem[e]) * i[e]) * (ONE - z[e])
    for e in range(len(i)):
        i[e] = syn[e] * i[e] + a[e]


@compiled
def _current_step_back(z, v, i, gz, slopes, mem, syn, gv, gi, ga, through, gmem, gsyn):
    """Gradients of one step, in place, from those of the state after it."""
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
def current_lif_forward(currents, weight_t, keep, scale, mem, syn, lo, hi, v, i, a, z, checkpoints):
    """Fill ``z``; v, i, a in place. ``checkpoints`` is (segments, 3, B N) or empty."""
    received = np.empty(hi - lo, np.float32)
    events = np.empty(hi - lo, np.int32)
    everything = keep[:, 0]
    for t in range(len(currents)):
        if t % SEGMENT == 0 and len(checkpoints):
            checkpoints[t // SEGMENT, 0, lo:hi] = v
            checkpoints[t // SEGMENT, 1, lo:hi] = i
            checkpoints[t // SEGMENT, 2, lo:hi] = a
        row = z[t, lo:hi]
        _fire(v, ONE, row)
        _current_step(row, v, i, a, mem, syn)
        received[:] = NIL
        count = _events(row, keep[t, lo:hi] if len(keep) else everything, events)
        _send(events[:count], scale, weight_t, received)
        current = currents[t, lo:hi]
        for e in range(len(a)):
            a[e] = current[e] + received[e]


@compiled
def current_lif_backward(
    currents, weight, weight_t, keep, scale, mem, syn, shape, slope, peak, lo, hi, checkpoints,
    gz, gv, gi, ga, gcurrents, gweight_t, gmem, gsyn,
):  # fmt: skip
    """Fill or add to the gradients; gv, gi, ga in place from the last state to the first."""
    steps, units, size = len(currents), len(weight), hi - lo
    zs = np.empty((SEGMENT, size), np.float32)
    vs = np.empty((SEGMENT, size), np.float32)
    is_ = np.empty((SEGMENT, size), np.float32)
    v = np.empty(size, np.float32)
    i = np.empty(size, np.float32)
    a = np.empty(size, np.float32)
    sent = np.empty(size, np.float32)
    slopes = np.empty(size, np.float32)
    through = np.empty(size, np.float32)
    events = np.empty((SEGMENT, size), np.int32)
    counts = np.empty(SEGMENT, np.int32)
    everything = keep[:, 0]
    for segment in range((steps - 1) // SEGMENT, -1, -1):
        t0, t1 = segment * SEGMENT, min((segment + 1) * SEGMENT, steps)
        v[:] = checkpoints[segment, 0, lo:hi]
        i[:] = checkpoints[segment, 1, lo:hi]
        a[:] = checkpoints[segment, 2, lo:hi]
        for t in range(t0, t1):
            z = zs[t - t0]
            vs[t - t0] = v
            is_[t - t0] = i
            _fire(v, ONE, z)
            _current_step(z, v, i, a, mem, syn)
            sent[:] = NIL
            count = _events(z, keep[t, lo:hi] if len(keep) else everything, events[t - t0])
            _send(events[t - t0, :count], scale, weight_t, sent)
            counts[t - t0] = count
            current = currents[t, lo:hi]
            for e in range(size):
                a[e] = current[e] + sent[e]
        for t in range(t1 - 1, t0 - 1, -1):
            z = zs[t - t0]
            gcurrents[t, lo:hi] = ga
            np.dot(ga.reshape(-1, units), weight, sent.reshape(-1, units))
            _learn(events[t - t0, : counts[t - t0]], scale, ga, gweight_t)
            if len(keep):
                kept = keep[t, lo:hi]
                for e in range(size):
                    sent[e] *= scale * np.float32(kept[e])
            if len(gz):
                outside = gz[t, lo:hi]
                for e in range(size):
                    sent[e] += outside[e]
            _derivative(shape, slope, peak, vs[t - t0], ONE, slopes)
            _current_step_back(
                z, vs[t - t0], is_[t - t0], sent, slopes, mem, syn, gv, gi, ga, through, gmem, gsyn
            )


@compiled
def current_integrator_forward(currents, mem, syn, lo, hi, v, i, a, vs, is_):
    """Fill membranes and, before each step, synaptic currents; v, i, a in place."""
    z = np.zeros(hi - lo, np.float32)
    for t in range(len(currents)):
        is_[t, lo:hi] = i
        _current_step(z, v, i, a, mem, syn)
        a[:] = currents[t, lo:hi]
        vs[t, lo:hi] = v


@compiled
def current_integrator_backward(
    first, vs, is_, mem, syn, lo, hi, gvs, gv, gi, ga, gcurrents, gmem, gsyn
):
    """Fill or add to the gradients; ``first`` is v before the first step."""
    nothing = np.zeros(hi - lo, np.float32)
    through = np.empty(hi - lo, np.float32)
    for t in range(len(vs) - 1, -1, -1):
        outside = gvs[t, lo:hi]
        for e in range(len(gv)):
            gv[e] += outside[e]
        gcurrents[t, lo:hi] = ga
        v = vs[t - 1, lo:hi] if t else first
        _current_step_back(
            nothing, v, is_[t, lo:hi], nothing, nothing, mem, syn, gv, gi, ga, through, gmem, gsyn
        )


@compiled
def integrator_forward(currents, decay, lo, hi, v, vs):
    """Fill membranes; v in place."""
    for t in range(len(currents)):
        current = currents[t, lo:hi]
        for e in range(len(v)):
            v[e] = decay[e] * v[e] + current[e]
        vs[t, lo:hi] = v


@compiled
def integrator_backward(first, vs, decay, lo, hi, gvs, gv, gcurrents, gdecay):
    """Fill or add to the gradients; ``first`` is v before the first step."""
    for t in range(len(vs) - 1, -1, -1):
        outside = gvs[t, lo:hi]
        for e in range(len(gv)):
            gv[e] += outside[e]
        gcurrents[t, lo:hi] = gv
        v = vs[t - 1, lo:hi] if t else first
        for e in range(len(gv)):
            gdecay[e] += gv[e] * v[e]
        for e in range(len(gv)):
            gv[e] *= decay[e]


@compiled
def _store(v, grid, lowest, highest, out):
    """``v`` as stored: on the fixed-point grid, or as it is where ``grid`` is 0."""
    if grid == NIL:
        out[:] = v
    else:
        for e in range(len(v)):
            out[e] = min(max(np.float32(np.rint(v[e] * grid)) / grid, lowest), highest)


@compiled
def lif_forward(
    currents, weight_t, decay, threshold, reset, grid, lowest, highest, lo, hi, v, z, zs, vs
):
    """Fill spikes and membranes before they are stored; v and z in place.

    ``weight_t`` is empty without recurrence.
    """
    received = np.zeros(hi - lo, np.float32)
    events = np.empty(hi - lo, np.int32)
    everything = np.empty(0, np.bool_)
    for t in range(len(currents)):
        current, new = currents[t, lo:hi], vs[t, lo:hi]
        received[:] = NIL
        if len(weight_t):
            count = _events(z, everything, events)
            _send(events[:count], ONE, weight_t, received)
        for e in range(len(received)):
            received[e] += current[e]
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
        _store(new, grid, lowest, highest, v)
        _fire(v, threshold, z)
        zs[t, lo:hi] = z


@compiled
def lif_backward(
    first_v, first_z, zs, vs, weight, decay, threshold, reset, grid, lowest, highest,
    shape, slope, peak, lo, hi, gzs, gv, gz, gcurrents, gweight_t, gdecay,
):  # fmt: skip
    """Fill or add to the gradients; gv and gz in place from the last state to the first."""
    size, units = hi - lo, weight.shape[1]
    everything = np.empty(0, np.bool_)
    events = np.empty(size, np.int32)
    stored = np.empty(size, np.float32)
    slopes = np.empty(size, np.float32)
    _store(vs[len(vs) - 1, lo:hi], grid, lowest, highest, stored)
    for t in range(len(vs) - 1, -1, -1):
        outside, new, g = gzs[t, lo:hi], vs[t, lo:hi], gcurrents[t, lo:hi]
        _derivative(shape, slope, peak, stored, threshold, slopes)
        for e in range(size):
            g[e] = gv[e] + slopes[e] * (outside[e] + gz[e])
        if grid > NIL:  # the straight-through gradient ends where the membrane saturates
            for e in range(size):
                g[e] = g[e] if new[e] >= lowest and new[e] <= highest else NIL
        if t:
            z = zs[t - 1, lo:hi]
            _store(vs[t - 1, lo:hi], grid, lowest, highest, stored)
        else:
            z = first_z
            stored[:] = first_v
        if reset == ZERO_AND_INPUT:
            for e in range(size):
                g[e] *= ONE - z[e]
        for e in range(size):
            gv[e] = g[e]
        if reset == ZERO:
            for e in range(size):
                gv[e] *= ONE - z[e]
        for e in range(size):
            gdecay[e] += gv[e] * stored[e]
        for e in range(size):
            gv[e] *= decay[e]
        if len(weight):
            count = _events(z, everything, events)
            _learn(events[:count], ONE, g, gweight_t)
            np.dot(g.reshape(-1, units), weight, gz.reshape(-1, units))
        else:
            gz[:] = NIL
