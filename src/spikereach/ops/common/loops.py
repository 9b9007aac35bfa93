"""What the compiled loops of the CPU backend share: one chunk of streams through all steps.

State, spikes and constants of a chunk stay in cache. Spikes are rare: only units that fire add
to the recurrent input and to the recurrent weight's gradient. No fast-math: each product and sum
is rounded as in PyTorch.

Arrays are float32 and C-contiguous. Streams and units share an axis of ``B N`` elements, of
which a chunk is the slice ``lo:hi``, its *span*; sequences are (T, B N), states (B N), and
constants and their gradients are repeated for each stream of the chunk. Transposed weights have a
row per source, so that silent sources are skipped. Each loop writes one array and reads few, or
the compiler would not vectorise it.

Groups of arguments, as tuples:

========= ========================================================================================
grid      steps per unit, lowest and highest value of a fixed-point format; 0 steps: as computed
dropout   seed, bound and scale of a `Dropout`
surrogate code of the shape, slope and peak of a `Surrogate`
========= ========================================================================================
"""

import numpy as np

from spikereach.ops.common.compiling import compiled, inlined
from spikereach.ops.common.dropout import GAMMA, LANES, ROUNDS
from spikereach.ops.common.intrinsics import WIDTH, lowest, nonzero, part

# Codes of `Surrogate.shape`.
RATIONAL, TRIANGLE, ARCTAN = 0, 1, 2

ONE = np.float32(1)
NIL = np.float32(0)
BINARY16 = np.float32(-1)
"""In place of the steps of a fixed-point grid: IEEE 754 binary16."""

# SplitMix64, as in `Dropout`.
STEP, (S1, F1), (S2, F2), (S3, _) = np.uint64(GAMMA), *(map(np.uint64, r) for r in ROUNDS)
ALL = (np.uint64(0), np.uint64(0), ONE)  # no dropout: seed, dropped, scale
LANE_BITS, LANE_MASK = np.uint64(64 // LANES), np.uint64(2 ** (64 // LANES) - 1)

_SMALLEST, _LARGEST = np.float32(2.0**-14), np.float32(65504)
_STEP = np.float32(2.0**-24)
_ODD, _BELOW_HALF, _KEPT = np.uint32(13), np.uint32(0xFFF), np.uint32(0xFFFFE000)


@compiled
def fire(v, threshold, z):
    for e in range(len(z)):
        z[e] = ONE if v[e] > threshold else NIL


@compiled
def derivative(surrogate, v, threshold, out):
    """The surrogate derivative at membranes ``v``."""
    shape, slope, peak = surrogate
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
def copy(values, out):
    """As a loop; an assignment of slices is several times slower."""
    for e in range(len(out)):
        out[e] = values[e]


@inlined
def clear(out):
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
def spikes(values, row, dropout, words):
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
def drop(values, row, dropout, words, lanes):
    """Drop elements in place; ``words`` is scratch, ``lanes`` the same memory in 16 bits."""
    seed, dropped, scale = dropout
    if dropped:
        limit = np.uint16(dropped)
        for w in range(len(words)):
            words[w] = _word(seed, row * len(words) + w)
        for e in range(len(values)):
            values[e] *= scale if lanes[e] >= limit else NIL


@inlined
def send(words, values, scale, weight_t, out):
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
def learn(words, values, scale, gradient, gweight_t):
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


@inlined
def snap(v, grid, out):
    """``v`` as stored: on the fixed-point grid, or as it is."""
    steps, lowest, highest = grid
    if steps == NIL:
        copy(v, out)
    else:
        for e in range(len(v)):
            out[e] = min(max(np.float32(np.rint(v[e] * steps)) / steps, lowest), highest)


@inlined
def saturate(gradient, new, grid):
    """End the straight-through gradient in place where the value before it is stored, ``new``, lies
    outside the grid's range."""
    _, lowest, highest = grid
    for e in range(len(gradient)):
        gradient[e] = gradient[e] if new[e] >= lowest and new[e] <= highest else NIL


@compiled
def round_half(values):
    """Round to binary16, ties to even, in place."""
    bits = values.view(np.uint32)
    for e in range(len(values)):
        size = abs(values[e])
        if size < _SMALLEST:
            values[e] = np.float32(np.rint(values[e] / _STEP)) * _STEP
        elif size <= np.inf:
            bits[e] = (bits[e] + _BELOW_HALF + ((bits[e] >> _ODD) & np.uint32(1))) & _KEPT
            if abs(values[e]) > _LARGEST:
                values[e] *= np.float32(np.inf)


@compiled
def receive(x, weight_t, bias, out):
    """Fill ``out`` with the bias and what the inputs that are not zero send, in their order.

    Four inputs at a time: ``out`` is then loaded and stored a quarter as often.
    """
    for n in range(len(out)):
        out[n] = bias[n]
    active, count = np.empty(len(x), np.int64), 0
    for source in range(len(x)):
        active[count] = source
        count += x[source] != 0
    fours = count // 4 * 4
    for k in range(0, fours, 4):
        s0, s1, s2, s3 = active[k], active[k + 1], active[k + 2], active[k + 3]
        x0, x1, x2, x3 = np.float32(x[s0]), np.float32(x[s1]), np.float32(x[s2]), np.float32(x[s3])
        w0, w1, w2, w3 = weight_t[s0], weight_t[s1], weight_t[s2], weight_t[s3]
        for n in range(len(out)):
            out[n] = (((out[n] + x0 * w0[n]) + x1 * w1[n]) + x2 * w2[n]) + x3 * w3[n]
    for k in range(fours, count):
        value, row = np.float32(x[active[k]]), weight_t[active[k]]
        for n in range(len(out)):
            out[n] += value * row[n]


@compiled
def store(values, grid):
    """What comes back of stored values, in place: fixed point, binary16 or the values."""
    if grid[0] > NIL:
        snap(values, grid, values)
    elif grid[0] < NIL:
        round_half(values)
