"""Compiled steps of one stream: what `models.streams` calls once per bin or less often.

Each does as much as possible, because a call from Python takes longer than most of the work.
Arrays are float32 and C-contiguous; weights are transposed, so that silent inputs are skipped.
"""

from __future__ import annotations

import numpy as np

from spikereach.ops.common.kernels import (
    NIL,
    ONE,
    compiled,
    current_integrator_forward,
    lif_forward,
    snap,
)

HALF = np.float32(-1)
"""In place of the fixed-point grid: IEEE 754 binary16."""

_SMALLEST, _LARGEST = np.float32(2.0**-14), np.float32(65504)
_STEP = np.float32(2.0**-24)
_ODD, _BELOW_HALF, _KEPT = np.uint32(13), np.uint32(0xFFF), np.uint32(0xFFFFE000)


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
def store(values, grid, lowest, highest):
    """What comes back of stored values, in place: fixed point, binary16, or where ``grid`` is 0
    the values themselves."""
    if grid > NIL:
        snap(values, grid, lowest, highest, values)
    elif grid < NIL:
        round_half(values)


@compiled
def convolve(x, latest, weight_t, bias, grid, lowest, highest, counts, frame, pooled):
    """One input of a convolution and a maximum of two frames: whether ``pooled`` is complete.

    ``counts``: inputs that are missing before the first frame; 1 while a frame waits in
    ``pooled`` for its partner.
    """
    for row in range(len(latest) - 1):
        for n in range(len(x)):
            latest[row, n] = latest[row + 1, n]
    for n in range(len(x)):
        latest[len(latest) - 1, n] = x[n]
    if counts[0]:
        counts[0] -= 1
        return False
    receive(latest.reshape(-1), weight_t, bias, frame)
    store(frame, grid, lowest, highest)
    counts[1] = 1 - counts[1]
    if counts[1]:
        pooled[:] = frame
        return False
    for n in range(len(frame)):
        pooled[n] = max(pooled[n], frame[n])
    return True


@compiled
def lif(
    x, input_t, bias, recurrent_t, decay, threshold, reset, grid, lowest, highest, v, z, rows
):  # fmt: skip
    """Input matrix and neurons; v and z in place, ``rows`` (3, 1, N) is scratch."""
    receive(x, input_t, bias, rows[0, 0])
    lif_forward(
        rows[0], recurrent_t, decay, threshold, reset, grid, lowest, highest, 0, len(v), v, z,
        rows[1], rows[2],
    )  # fmt: skip


@compiled
def keypoint(x, weight_t, bias, last, shares, between):
    """Read-out of a keypoint, and the values ``between`` (period, 2) from the last one to it;
    ``last`` is overwritten."""
    new = np.empty_like(last)
    receive(x, weight_t, bias, new)
    for step in range(len(between)):
        for n in range(len(new)):
            between[step, n] = last[n] + shares[step] * (new[n] - last[n])
    for n in range(len(new)):
        last[n] = new[n]


@compiled
def _half_step(z, v, i, a, mem, syn):
    """`current_lif_step` in binary16: every sum and product is rounded."""
    rest, decayed = ONE - mem, mem * v
    round_half(rest)
    round_half(decayed)
    rest *= i
    round_half(rest)
    decayed += rest
    round_half(decayed)
    for n in range(len(v)):
        v[n] = decayed[n] * (ONE - z[n])
    for n in range(len(i)):
        i[n] *= syn[n]
    round_half(i)
    for n in range(len(i)):
        i[n] += a[n]
    round_half(i)


@compiled
def current_lif_half(x, input_t, recurrent_t, output_t, mem, syn, nothing, v, i, a, z, out):
    """`scan_current_lif` of one step in binary16, every value in float32."""
    for n in range(len(z)):
        z[n] = ONE if v[n] > ONE else NIL
    _half_step(z, v, i, a, mem, syn)
    received = np.empty_like(a)
    receive(x, input_t, nothing, received)
    round_half(received)
    receive(z, recurrent_t, nothing, a)
    round_half(a)
    for n in range(len(a)):
        a[n] += received[n]
    round_half(a)
    receive(z, output_t, nothing, out)
    round_half(out)


@compiled
def current_integrator(currents, mem, syn, half, v, i, a, rows):
    """`scan_current_integrator` of one step; ``rows`` (2, 1, N) is scratch."""
    if half:
        _half_step(np.zeros_like(v), v, i, a, mem, syn)
        a[:] = currents
    else:
        current_integrator_forward(
            currents.reshape(1, -1), mem, syn, 0, len(v), v, i, a, rows[0], rows[1]
        )
