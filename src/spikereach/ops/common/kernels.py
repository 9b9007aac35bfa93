"""Compiled loops of the CPU backend: one chunk of streams through all steps.

State, spikes and constants of a chunk stay in cache. Spikes are rare: only units that fire add
to the recurrent input and to the recurrent weight's gradient. The forward pass of the recurrent
current-based neuron keeps a checkpoint of its state every `SEGMENT` steps and, as bits, what was
sent, from which the backward pass computes the membranes again. No fast-math: each product and sum
is rounded as in PyTorch.

Arrays are float32 and C-contiguous. Streams and units share an axis of ``B N`` elements, of
which a chunk is the slice ``lo:hi``; sequences are (T, B N), states (B N), and constants and
their gradients are repeated for each stream of the chunk. Each loop writes one array and reads
few, or the compiler would not vectorise it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from spikereach.ops.common.dropout import GAMMA, LANES, ROUNDS
from spikereach.ops.common.intrinsics import WIDTH, lowest, nonzero, part

SEGMENT = 16
GROUP = 12
"""Taps of a convolution in one matrix."""
WIDE = 256
"""Units from which OpenBLAS (0.3.30, with AVX-512) multiplies with a transposed matrix in a tenth
less time; with 64 units it takes a third more."""

# Codes of `Surrogate.shape` and `Reset`.
RATIONAL, TRIANGLE, ARCTAN = 0, 1, 2
SUBTRACT, ZERO, ZERO_AND_INPUT, NONE = 0, 1, 2, 3

ONE = np.float32(1)
NIL = np.float32(0)
HALF = np.float32(0.5)

# SplitMix64, as in `Dropout`.
STEP, (S1, F1), (S2, F2), (S3, _) = np.uint64(GAMMA), *(map(np.uint64, r) for r in ROUNDS)
ALL = (np.uint64(0), np.uint64(0), ONE)  # no dropout: seed, dropped, scale
LANE_BITS, LANE_MASK = np.uint64(64 // LANES), np.uint64(2 ** (64 // LANES) - 1)

compiled = njit(cache=True, nogil=True, error_model="numpy")  # no checks of divisors
# Of functions that work on views within a step: to call them would count references to each view,
# atomically, which takes longer than their work.
inlined = njit(inline="always", error_model="numpy")


@compiled
def fire(v, threshold, z):
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


@inlined
def _copy(values, out):
    """As a loop; an assignment of slices is several times slower."""
    for e in range(len(out)):
        out[e] = values[e]


@inlined
def _clear(out):
    for e in range(len(out)):
        out[e] = NIL


@inlined
def _word(seed, number):
    """Output ``number`` of SplitMix64."""
    word = seed + np.uint64(number + 1) * STEP
    word = (word ^ (word >> S1)) * F1
    word = (word ^ (word >> S2)) * F2
    return word ^ (word >> S3)


@inlined
def _spikes(values, row, dropout, words):
    """Fill bits: which elements are neither zero nor dropped.

    ``row`` is the number of these values among the rows of the dropout.
    """
    seed, dropped, _ = dropout
    first = row * ((len(values) + LANES - 1) // LANES)
    for w in range(len(words)):
        words[w] = left = _nonzero(values, w * WIDTH)
        while dropped and left:
            bit = lowest(left)
            left &= left - np.uint64(1)
            e = w * WIDTH + bit
            lane = _word(seed, first + e // LANES) >> (LANE_BITS * np.uint64(e % LANES)) & LANE_MASK
            words[w] ^= np.uint64(lane < dropped) << np.uint64(bit)


@inlined
def _nonzero(values, start):
    """Which elements from ``start`` on are not zero, at most 64, as bits."""
    last = len(values) - WIDTH
    if last >= 0:  # the last word overlaps the one before
        begin = min(start, last)
        return nonzero(values, begin) >> np.uint64(start - begin)
    found = np.uint64(0)
    for e in range(len(values)):
        found |= np.uint64(values[e] != 0) << np.uint64(e)
    return found


@inlined
def _drop(values, row, dropout, words, lanes):
    """Drop elements in place; ``words`` is scratch, ``lanes`` the same memory in 16 bits."""
    seed, dropped, scale = dropout
    if dropped:
        limit = np.uint16(dropped)
        for w in range(len(words)):
            words[w] = _word(seed, row * len(words) + w)
        for e in range(len(values)):
            values[e] *= scale if lanes[e] >= limit else NIL


@inlined
def _send(words, values, scale, weight_t, out):
    """Add the rows of the transposed weight that belong to the sources whose bits are set."""
    for w in range(len(words)):
        left = words[w]
        while left:
            source = w * WIDTH + lowest(left)
            left &= left - np.uint64(1)
            factor, row = scale * np.float32(values[source]), part(weight_t, source, len(out))
            for n in range(len(out)):
                out[n] += factor * row[n]


@inlined
def _learn(words, values, scale, gradient, gweight_t):
    """Add the receivers' gradients to the rows of the sources whose bits are set."""
    for w in range(len(words)):
        left = words[w]
        while left:
            source = w * WIDTH + lowest(left)
            left &= left - np.uint64(1)
            factor = scale * np.float32(values[source])
            row = part(gweight_t, source, len(gradient))
            for n in range(len(row)):
                row[n] += factor * gradient[n]


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
def current_lif_forward(
    x, input_t, recurrent_t, output_t, x_dropout, dropout, mem, syn, start, stop,
    v, i, a, zs, outs, received, sent, checkpoints,
):  # fmt: skip
    """Fill spikes and outputs of the streams ``start:stop``; v, i, a in place.

    ``received`` and ``sent`` get bits (T, B, words), which inputs and spikes are not dropped.
    ``checkpoints`` is (segments, 3, B N) or empty.
    """
    (inputs, units), outputs = input_t.shape, output_t.shape[1]
    streams, lo, hi = x.shape[1] // inputs, start * units, stop * units
    for t in range(len(x)):
        if t % SEGMENT == 0 and len(checkpoints):
            _copy(v, checkpoints[t // SEGMENT, 0, lo:hi])
            _copy(i, checkpoints[t // SEGMENT, 1, lo:hi])
            _copy(a, checkpoints[t // SEGMENT, 2, lo:hi])
        fired = zs[t, lo:hi]
        fire(v, ONE, fired)
        _current_step(fired, v, i, a, mem, syn)
        _clear(a)
        for s in range(stop - start):
            row = t * streams + start + s
            now, z = part(x, row, inputs), part(zs, row, units)
            arriving, out = part(a, s, units), part(outs, row, outputs)
            words = part(received, row, received.shape[2])
            _spikes(now, row, x_dropout, words)
            _send(words, now, x_dropout[2], input_t, arriving)
            words = part(sent, row, sent.shape[2])
            _spikes(z, row, dropout, words)
            _send(words, z, dropout[2], recurrent_t, arriving)
            _clear(out)
            _send(words, z, dropout[2], output_t, out)


@compiled
def current_lif_backward(
    x, input_t, recurrent, recurrent_t, output, x_dropout, dropout, mem, syn,
    shape, slope, peak, start, stop, received, sent, checkpoints, gzs, gouts, gv, gi, ga,
    ginput_t, grecurrent_t, goutput_t, gmem, gsyn,
):  # fmt: skip
    """Fill or add to the gradients; gv, gi, ga in place from the last state to the first.

    ``gzs`` has one row per step, one for all steps, or none.
    """
    (inputs, units), outputs, steps = input_t.shape, len(output), len(x)
    streams, lo, hi = x.shape[1] // inputs, start * units, stop * units
    size, here = hi - lo, stop - start
    zs = np.empty((SEGMENT, size), np.float32)
    vs = np.empty((SEGMENT, size), np.float32)
    is_ = np.empty((SEGMENT, size), np.float32)
    v = np.empty(size, np.float32)
    i = np.empty(size, np.float32)
    a = np.empty(size, np.float32)
    # The gradient of i is that of a one step earlier: both go back to the spikes of two steps in
    # one matrix product, which is faster than two.
    both = np.empty((2, size), np.float32)
    products = np.empty((2, size), np.float32)
    _copy(ga, both[0])
    _copy(gi, both[1])
    slopes = np.empty(size, np.float32)
    through = np.empty(size, np.float32)
    drawn = np.empty((units + LANES - 1) // LANES, np.uint64)
    lanes = drawn.view(np.uint16)
    for segment in range((steps - 1) // SEGMENT, -1, -1):
        t0, t1 = segment * SEGMENT, min((segment + 1) * SEGMENT, steps)
        _copy(checkpoints[segment, 0, lo:hi], v)
        _copy(checkpoints[segment, 1, lo:hi], i)
        _copy(checkpoints[segment, 2, lo:hi], a)
        for t in range(t0, t1):
            k = t - t0
            _copy(v, vs[k])
            _copy(i, is_[k])
            fire(v, ONE, zs[k])
            _current_step(zs[k], v, i, a, mem, syn)
            _clear(a)
            for s in range(here):
                row, slot = t * streams + start + s, k * here + s
                now, z, arriving = part(x, row, inputs), part(zs, slot, units), part(a, s, units)
                words = part(received, row, received.shape[2])
                _send(words, now, x_dropout[2], input_t, arriving)
                words = part(sent, row, sent.shape[2])
                _send(words, z, dropout[2], recurrent_t, arriving)
        for t in range(t1 - 1, t0 - 1, -1):
            k, turn = t - t0, (t1 - 1 - t) % 2
            if turn == 0 and units > WIDE:
                np.dot(both.reshape(-1, units), recurrent_t.T, products.reshape(-1, units))
            elif turn == 0:
                np.dot(both.reshape(-1, units), recurrent, products.reshape(-1, units))
            gz = products[turn]
            for s in range(here):
                row, slot = t * streams + start + s, k * here + s
                now, z = part(x, row, inputs), part(zs, slot, units)
                arriving, out = part(both, s, units), part(gouts, row, outputs)
                words = part(received, row, received.shape[2])
                _learn(words, now, x_dropout[2], arriving, ginput_t)
                words = part(sent, row, sent.shape[2])
                _learn(words, z, dropout[2], arriving, grecurrent_t)
                _learn(words, z, dropout[2], out, goutput_t)
                back = part(gz, s, units)
                for o in range(outputs):
                    for n in range(units):
                        back[n] += out[o] * output[o, n]
                _drop(back, row, dropout, drawn, lanes)
            if len(gzs):
                outside = gzs[t % len(gzs), lo:hi]
                for e in range(size):
                    gz[e] += outside[e]
            _derivative(shape, slope, peak, vs[k], ONE, slopes)
            _current_step_back(
                zs[k], vs[k], is_[k], gz, slopes, mem, syn, gv, both[1], both[0], through,
                gmem, gsyn,
            )  # fmt: skip
    _copy(both[0], ga)
    _copy(both[1], gi)


@compiled
def current_integrator_forward(currents, mem, syn, lo, hi, v, i, a, vs, is_):
    """Fill membranes and, before each step, synaptic currents; v, i, a in place."""
    z = np.zeros(hi - lo, np.float32)
    for t in range(len(currents)):
        _copy(i, is_[t, lo:hi])
        _current_step(z, v, i, a, mem, syn)
        _copy(currents[t, lo:hi], a)
        _copy(v, vs[t, lo:hi])


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
        _copy(ga, gcurrents[t, lo:hi])
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
        _copy(v, vs[t, lo:hi])


@compiled
def integrator_backward(first, vs, decay, lo, hi, gvs, gv, gcurrents, gdecay):
    """Fill or add to the gradients; ``first`` is v before the first step."""
    for t in range(len(vs) - 1, -1, -1):
        outside = gvs[t, lo:hi]
        for e in range(len(gv)):
            gv[e] += outside[e]
        _copy(gv, gcurrents[t, lo:hi])
        v = vs[t - 1, lo:hi] if t else first
        for e in range(len(gv)):
            gdecay[e] += gv[e] * v[e]
        for e in range(len(gv)):
            gv[e] *= decay[e]


@inlined
def snap(v, grid, lowest, highest, out):
    """``v`` as stored: on the fixed-point grid, or as it is where ``grid`` is 0."""
    if grid == NIL:
        _copy(v, out)
    else:
        for e in range(len(v)):
            out[e] = min(max(np.float32(np.rint(v[e] * grid)) / grid, lowest), highest)


@compiled
def lif_forward(
    currents, weight_t, decay, threshold, reset, grid, lowest, highest, lo, hi, v, z, zs, vs
):
    """Fill spikes and membranes before they are stored; v and z in place.

    ``vs`` has the chunk's elements only; ``weight_t`` is empty without recurrence.
    """
    received = np.zeros(hi - lo, np.float32)
    units = weight_t.shape[1]
    words = np.empty((units + WIDTH - 1) // WIDTH, np.uint64)
    for t in range(len(currents)):
        current, new = currents[t, lo:hi], vs[t]
        _clear(received)
        if len(weight_t):
            for s in range(len(z) // units):
                fired = part(z, s, units)
                _spikes(fired, s, ALL, words)
                _send(words, fired, ONE, weight_t, part(received, s, units))
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
        snap(new, grid, lowest, highest, v)
        fire(v, threshold, z)
        _copy(z, zs[t, lo:hi])


@compiled
def lif_backward(
    first_v, first_z, vs, weight, decay, threshold, reset, grid, lowest, highest,
    shape, slope, peak, lo, hi, gzs, gv, gz, gcurrents, gweight_t, gdecay,
):  # fmt: skip
    """Fill or add to the gradients; gv and gz in place from the last state to the first.

    Spikes follow from the membranes.
    """
    size, units = hi - lo, weight.shape[1]
    z = np.empty(size, np.float32)
    words = np.empty((units + WIDTH - 1) // WIDTH, np.uint64)
    stored = np.empty(size, np.float32)
    slopes = np.empty(size, np.float32)
    snap(vs[len(vs) - 1], grid, lowest, highest, stored)
    for t in range(len(vs) - 1, -1, -1):
        outside, new, g = gzs[t, lo:hi], vs[t], gcurrents[t, lo:hi]
        _derivative(shape, slope, peak, stored, threshold, slopes)
        for e in range(size):
            g[e] = gv[e] + slopes[e] * (outside[e] + gz[e])
        if grid > NIL:  # the straight-through gradient ends where the membrane saturates
            for e in range(size):
                g[e] = g[e] if new[e] >= lowest and new[e] <= highest else NIL
        if t:
            snap(vs[t - 1], grid, lowest, highest, stored)
            fire(stored, threshold, z)
        else:
            _copy(first_v, stored)
            _copy(first_z, z)
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
            for s in range(size // units):
                fired = part(z, s, units)
                _spikes(fired, s, ALL, words)
                _learn(words, fired, ONE, part(g, s, units), gweight_t)
            np.dot(g.reshape(-1, units), weight, gz.reshape(-1, units))
        else:
            _clear(gz)


@compiled
def spike_bits(rows, first, step, bits):
    """Fill bits (n, words): which inputs are not zero in ``n`` rows, ``step`` rows apart."""
    for t in range(len(bits)):
        _spikes(rows[first + t * step], 0, ALL, bits[t])


@inlined
def _receivers(t, taps, frames, outputs):
    """Where what step ``t`` reaches lies: in the frames, and in a weight's row of taps, of which
    that of the newest input is the first. Each from its first element to before its last."""
    oldest = t - taps + 1
    first, last = max(oldest, 0), min(t + 1, frames)
    return first * outputs, last * outputs, (first - oldest) * outputs, (last - oldest) * outputs


@compiled
def spike_conv_forward(bits, weight, y):
    """Fill ``y`` (frames, O) with the convolution of a stream's spikes.

    ``weight`` is (C, K O), the tap of the newest input first: what one spike sends to K
    neighbouring frames lies together.
    """
    frames, outputs = y.shape
    taps, rows = weight.shape[1] // outputs, y.reshape(-1)
    _clear(rows)
    for t in range(len(bits)):
        first, last, low, high = _receivers(t, taps, frames, outputs)
        out = rows[first:last]
        for w in range(bits.shape[1]):
            left = bits[t, w]
            while left:
                one = weight[w * WIDTH + lowest(left), low:high]
                left &= left - np.uint64(1)
                if left:  # two at a time, to read and write `out` half as often
                    two = weight[w * WIDTH + lowest(left), low:high]
                    left &= left - np.uint64(1)
                    for n in range(len(out)):
                        out[n] = out[n] + one[n] + two[n]
                else:
                    for n in range(len(out)):
                        out[n] += one[n]


@compiled
def spike_conv_backward(bits, gy, gweight):
    """Add to the weight's gradient (C, K O)."""
    frames, outputs = gy.shape
    taps, rows = gweight.shape[1] // outputs, gy.reshape(-1)
    for t in range(len(bits)):
        first, last, low, high = _receivers(t, taps, frames, outputs)
        received = rows[first:last]
        for w in range(bits.shape[1]):
            left = bits[t, w]
            while left:
                row = gweight[w * WIDTH + lowest(left), low:high]
                left &= left - np.uint64(1)
                for n in range(len(row)):
                    row[n] += received[n]


@inlined
def _runs(inputs, first, taps, frames):
    """What every ``taps``-th frame depends on, (frames, taps C), from the step ``first`` on: the
    steps under a kernel are one run of memory, and runs that do not overlap are a matrix."""
    return inputs[first : first + frames * taps].reshape(frames, taps * inputs.shape[1])


@compiled
def conv_forward(inputs, weight, y):
    """Fill ``y`` (frames, O) with the convolution of a stream (frames + K - 1, C).

    ``weight`` is (K C, O). A matrix has as many rows as runs fit into the stream: of long kernels,
    `GROUP` taps are taken at a time.
    """
    channels = inputs.shape[1]
    taps = len(weight) // channels
    groups = (taps + GROUP - 1) // GROUP
    products = np.empty((len(y) // (taps // groups) + 1, y.shape[1]), np.float32)
    for group in range(groups):
        low, high = group * taps // groups, (group + 1) * taps // groups
        size, rows = high - low, weight[low * channels : high * channels]
        for offset in range(min(size, len(y))):
            frames = (len(y) - offset + size - 1) // size
            np.dot(_runs(inputs, low + offset, size, frames), rows, products[:frames])
            for t in range(frames):
                out, product = y[offset + t * size], products[t]
                if group == 0:
                    _copy(product, out)
                else:
                    for n in range(len(out)):
                        out[n] += product[n]


@compiled
def conv_backward(inputs, gy, gweight):
    """Add to the weight's gradient (K C, O)."""
    channels = inputs.shape[1]
    taps = len(gweight) // channels
    groups = (taps + GROUP - 1) // GROUP
    received = np.empty((len(gy) // (taps // groups) + 1, gy.shape[1]), np.float32)
    for group in range(groups):
        low, high = group * taps // groups, (group + 1) * taps // groups
        size, rows = high - low, gweight[low * channels : high * channels]
        product = np.empty_like(rows)
        for offset in range(min(size, len(gy))):
            frames = (len(gy) - offset + size - 1) // size
            for t in range(frames):
                _copy(gy[offset + t * size], received[t])
            sent = _runs(inputs, low + offset, size, frames)
            np.dot(sent.T, received[:frames], product)
            rows += product


@compiled
def pool(y, rising, pooled, odd, total, squares):
    """Fill ``pooled`` (frames // 2, O) with that of every two frames of ``y`` whose image by a
    map, rising or falling by channel, is the largest; the last of an odd number goes to ``odd``.

    Adds up, per channel, all frames and their squares in float64.
    """
    for t in range(len(pooled)):
        out, one, other = pooled[t], y[2 * t], y[2 * t + 1]
        for n in range(len(out)):
            out[n] = max(one[n], other[n]) if rising[n] else min(one[n], other[n])
    if len(odd):
        _copy(y[len(y) - 1], odd[0])
    for t in range(len(y)):
        row = y[t]
        for n in range(len(row)):
            total[n] += row[n]
        for n in range(len(row)):
            squares[n] += np.float64(row[n]) * np.float64(row[n])


@compiled
def pool_alone(y, bias, grid, lowest, highest, pooled, odd):
    """Fill ``pooled`` (frames // 2, O) with the larger of every two frames of ``y``, and ``odd``
    with the last where it has no partner; with the bias, and as stored."""
    for t in range(len(pooled)):
        out, one, other = pooled[t], y[2 * t], y[2 * t + 1]
        for n in range(len(out)):
            out[n] = max(one[n], other[n]) + bias[n]
        if grid > NIL:
            snap(out, grid, lowest, highest, out)
    if len(odd):
        out, one = odd[0], y[len(y) - 1]
        for n in range(len(out)):
            out[n] = one[n] + bias[n]
        snap(out, grid, lowest, highest, out)


@inlined
def _normalise(row, centre, scale, shift, out):
    for n in range(len(out)):
        out[n] = (row[n] - centre[n]) * scale[n] + shift[n]


@compiled
def finish_pool(rows, centre, scale, shift, grid, lowest, highest, dropout, first):
    """Make pooled rows of a convolution frames, in place: ``(y - centre) scale + shift``, on a
    fixed-point grid unless ``grid`` is 0, after dropout. ``first`` is the number of the first
    row among those of the dropout."""
    words = np.empty((rows.shape[1] + LANES - 1) // LANES, np.uint64)
    lanes = words.view(np.uint16)
    for t in range(len(rows)):
        row = rows[t]
        _normalise(row, centre, scale, shift, row)
        if grid > NIL:
            snap(row, grid, lowest, highest, row)
        _drop(row, first + t, dropout, words, lanes)


@inlined
def _inside(values, lowest, highest, out):
    for n in range(len(out)):
        out[n] = ONE if values[n] >= lowest and values[n] <= highest else NIL


@compiled
def unpool(
    y, centre, scale, shift, grid, lowest, highest, dropout, first, gpooled, godd, gframes
):  # fmt: skip
    """Fill the frames' gradients before they are stored; that of equal frames is halved."""
    units = y.shape[1]
    one = np.empty(units, np.float32)
    other = np.empty(units, np.float32)
    inside = np.empty((2, units), np.float32)
    inside[:] = ONE
    dropped = np.empty(units, np.float32)
    words = np.empty((units + LANES - 1) // LANES, np.uint64)
    lanes = words.view(np.uint16)
    for t in range(len(gpooled)):
        _copy(gpooled[t], dropped)
        _drop(dropped, first + t, dropout, words, lanes)
        _normalise(y[2 * t], centre, scale, shift, one)
        _normalise(y[2 * t + 1], centre, scale, shift, other)
        if grid > NIL:  # the straight-through gradient ends where values saturate
            _inside(one, lowest, highest, inside[0])
            _inside(other, lowest, highest, inside[1])
            snap(one, grid, lowest, highest, one)
            snap(other, grid, lowest, highest, other)
        gone, gother = gframes[2 * t], gframes[2 * t + 1]
        for n in range(units):
            share = HALF if one[n] == other[n] else ONE if one[n] > other[n] else NIL
            gone[n] = share * dropped[n]
        for n in range(units):
            gother[n] = (dropped[n] - gone[n]) * inside[1, n]
        for n in range(units):
            gone[n] *= inside[0, n]
    if len(godd):
        last = len(y) - 1
        if grid > NIL:
            _normalise(y[last], centre, scale, shift, one)
            _inside(one, lowest, highest, inside[0])
        for n in range(units):
            gframes[last, n] = godd[0, n] * inside[0, n]


@compiled
def norm_sums(y, gframes, centre, total, product):
    """Add up, per channel, the frames' gradients and their products with the frames."""
    for t in range(len(y)):
        row, g = y[t], gframes[t]
        for n in range(len(g)):
            total[n] += g[n]
        for n in range(len(g)):
            product[n] += np.float64(g[n]) * np.float64(row[n] - centre[n])


@compiled
def norm_backward(y, gframes, centre, scale, total, product):
    """Gradients of ``y`` from those of frames, in place; ``total`` and ``product`` are what is
    taken off for the mean and the variance."""
    for t in range(len(y)):
        row, g = y[t], gframes[t]
        for n in range(len(g)):
            g[n] = scale[n] * (g[n] - total[n] - (row[n] - centre[n]) * product[n])
