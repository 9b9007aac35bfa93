"""Compiled loops of a convolution block: one stream, or frames in any order."""

import numpy as np

from spikereach.ops.common import loops
from spikereach.ops.common.compiling import compiled, inlined
from spikereach.ops.common.dropout import LANES
from spikereach.ops.common.intrinsics import WIDTH, lowest
from spikereach.ops.common.loops import ALL, NIL, ONE

GROUP = 12
"""Taps of a convolution in one matrix."""
HALF = np.float32(0.5)


@compiled
def spike_bits(rows, first, step, bits):
    """Fill bits (n, words): which inputs are not zero in ``n`` rows, ``step`` rows apart."""
    for t in range(len(bits)):
        loops.spikes(rows[first + t * step], 0, ALL, bits[t])


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
    loops.clear(rows)
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
                    loops.copy(product, out)
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
                loops.copy(gy[offset + t * size], received[t])
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
        loops.copy(y[len(y) - 1], odd[0])
    for t in range(len(y)):
        row = y[t]
        for n in range(len(row)):
            total[n] += row[n]
        for n in range(len(row)):
            squares[n] += np.float64(row[n]) * np.float64(row[n])


@compiled
def pool_alone(y, bias, grid, pooled, odd):
    """Fill ``pooled`` (frames // 2, O) with the larger of every two frames of ``y``, and ``odd``
    with the last where it has no partner; with the bias, and as stored."""
    for t in range(len(pooled)):
        out, one, other = pooled[t], y[2 * t], y[2 * t + 1]
        for n in range(len(out)):
            out[n] = max(one[n], other[n]) + bias[n]
        if grid[0] > NIL:
            loops.snap(out, grid, out)
    if len(odd):
        out, one = odd[0], y[len(y) - 1]
        for n in range(len(out)):
            out[n] = one[n] + bias[n]
        loops.snap(out, grid, out)


@inlined
def _normalise(row, affine, out):
    centre, scale, shift = affine
    for n in range(len(out)):
        out[n] = (row[n] - centre[n]) * scale[n] + shift[n]


@compiled
def finish_pool(rows, rule, first):
    """Make pooled rows of a convolution frames, in place: ``(y - centre) scale + shift``, on a
    fixed-point grid if there is one, after dropout. ``first`` is the number of the first row among
    those of the dropout."""
    affine, grid, dropout = rule
    words = np.empty((rows.shape[1] + LANES - 1) // LANES, np.uint64)
    lanes = words.view(np.uint16)
    for t in range(len(rows)):
        row = rows[t]
        _normalise(row, affine, row)
        if grid[0] > NIL:
            loops.snap(row, grid, row)
        loops.drop(row, first + t, dropout, words, lanes)


@inlined
def _inside(values, grid, out):
    _, lowest, highest = grid
    for n in range(len(out)):
        out[n] = ONE if values[n] >= lowest and values[n] <= highest else NIL


@compiled
def unpool(y, rule, first, gpooled, godd, gframes):
    """Fill the frames' gradients before they are stored; that of equal frames is halved."""
    affine, grid, dropout = rule
    units = y.shape[1]
    one = np.empty(units, np.float32)
    other = np.empty(units, np.float32)
    inside = np.empty((2, units), np.float32)
    inside[:] = ONE
    dropped = np.empty(units, np.float32)
    words = np.empty((units + LANES - 1) // LANES, np.uint64)
    lanes = words.view(np.uint16)
    for t in range(len(gpooled)):
        loops.copy(gpooled[t], dropped)
        loops.drop(dropped, first + t, dropout, words, lanes)
        _normalise(y[2 * t], affine, one)
        _normalise(y[2 * t + 1], affine, other)
        if grid[0] > NIL:  # the straight-through gradient ends where values saturate
            _inside(one, grid, inside[0])
            _inside(other, grid, inside[1])
            loops.snap(one, grid, one)
            loops.snap(other, grid, other)
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
        if grid[0] > NIL:
            _normalise(y[last], affine, one)
            _inside(one, grid, inside[0])
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
def norm_backward(y, gframes, affine, total, product):
    """Gradients of ``y`` from those of frames, in place; ``total`` and ``product`` are what is
    taken off for the mean and the variance."""
    centre, scale, _ = affine
    for t in range(len(y)):
        row, g = y[t], gframes[t]
        for n in range(len(g)):
            g[n] = scale[n] * (g[n] - total[n] - (row[n] - centre[n]) * product[n])
