"""Triton kernels of the CUDA backend: one stream through all steps.

One program holds a stream's state and the recurrent weights in registers, from the first step to
the last. The forward pass keeps a checkpoint of the state every ``SEGMENT`` steps; the backward
pass computes each segment again, by the same functions and so to the same bits, and then goes
through it in reverse. Launch with ``enable_fp_fusion=False``: each product and sum of a neuron is
then rounded as in PyTorch; only sums over sources come in another order.

Sequences are (T, B, N), states (B, N), constants (N,), all contiguous; ``BLOCK`` is a power of
two that holds N, elements beyond N are zero. Arithmetic is float32; currents may be stored in
less.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spikereach.ops.common import dropout

# SplitMix64, as in `Dropout`.
GAMMA = tl.constexpr(dropout.GAMMA)
LANES = tl.constexpr(dropout.LANES)
(S1, F1), (S2, F2), (S3, _) = (
    (tl.constexpr(shift), tl.constexpr(factor)) for shift, factor in dropout.ROUNDS
)

DRAWN = ("seed", "t")
"""Arguments that change from call to call: kernels are not compiled anew for special values."""

HALF_RANGE = tl.constexpr(2.0**23)
"""From here on every float32 is an integer."""


@triton.jit
def _kept(seed, dropped, row, element, width):
    """Whether elements of a row are kept by a dropout with rows of ``width`` elements."""
    number = row * ((width + LANES - 1) // LANES) + element // LANES + 1
    word = seed.to(tl.uint64) + number.to(tl.uint64) * GAMMA
    word = (word ^ (word >> S1)) * F1
    word = (word ^ (word >> S2)) * F2
    word = word ^ (word >> S3)
    lane = (word >> ((element % LANES) * (64 // LANES)).to(tl.uint64)) & 0xFFFF
    return lane.to(tl.int32) >= dropped


@triton.jit
def _dropout(values, seed, dropped, scale, row, element, width, DROPOUT: tl.constexpr):
    """Elements of a row after dropout, or as they are."""
    if DROPOUT:
        kept = _kept(seed, dropped, row, element, width)
        values = tl.where(kept, values * scale, 0.0)
    return values


@triton.jit
def _derivative(distance, slope, peak, SHAPE: tl.constexpr):
    """The surrogate derivative at a distance from the threshold."""
    if SHAPE == "rational":
        x = slope * tl.abs(distance) + 1.0
        return peak / (x * x)
    elif SHAPE == "triangle":
        x = 1.0 - slope * tl.abs(distance)
        return peak * tl.where(x < 0.0, 0.0, x)
    else:
        x = slope * distance
        return peak / (1.0 + x * x)


@triton.jit
def _matrix(weight, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    return tl.load(weight + row * columns + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _product(values, weight):
    """Sum of the rows, which lie across threads, so that each sums what it holds."""
    return tl.sum(values[:, None] * weight, axis=0)


@triton.jit
def _fire(v, threshold):
    return tl.where(v > threshold, 1.0, 0.0)


@triton.jit
def _current_step(v, i, a, mem, syn):
    """v and i of the current-based neuron, and its spikes."""
    z = _fire(v, 1.0)
    return (mem * v + (1.0 - mem) * i) * (1.0 - z), syn * i + a, z


@triton.jit
def _current_step_back(v, i, mem, syn, slopes, gz, gv, gi):
    """Gradients of v, i, what arrived, mem and syn, from those of z and of v and i after."""
    through = (1.0 - _fire(v, 1.0)) * gv
    after_v = mem * through + slopes * gz
    after_i = syn * gi + (1.0 - mem) * through
    return after_v, after_i, gi, through * (v - i), gi * i


@triton.jit(do_not_specialize=DRAWN)
def drop(x, out, count, width, seed, dropped, scale, BLOCK: tl.constexpr):
    """Dropout of ``count`` numbers in rows of ``width``."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < count
    value = tl.load(x + element, mask=inside, other=0).to(tl.float32)
    row, place = element // width, element % width
    tl.store(out + element, _dropout(value, seed, dropped, scale, row, place, width, True), inside)


@triton.jit(do_not_specialize=DRAWN)
def current_lif_forward(
    currents, recurrent_t, output_t, mem_, syn_, v_, i_, a_,
    zs, outs, last_v, last_i, last_a, checkpoints,
    steps, streams, units, outputs, seed, dropped, scale,
    DROPOUT: tl.constexpr, CHECKPOINTS: tl.constexpr,
    SEGMENT: tl.constexpr, BLOCK: tl.constexpr, OUT_BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill spikes, what they send to the outputs, the last state and, every ``SEGMENT`` steps, the
    checkpoints (segments, 3, B, N)."""
    stream = tl.program_id(0)
    unit, channel = tl.arange(0, BLOCK), tl.arange(0, OUT_BLOCK)
    real, real_out = unit < units, channel < outputs
    here, row = stream * units + unit, streams * units
    weight_t = _matrix(recurrent_t, units, units, BLOCK, BLOCK)
    out_weight_t = _matrix(output_t, units, outputs, BLOCK, OUT_BLOCK)
    mem = tl.load(mem_ + unit, mask=real, other=0.0)
    syn = tl.load(syn_ + unit, mask=real, other=0.0)
    v = tl.load(v_ + here, mask=real, other=0.0)
    i = tl.load(i_ + here, mask=real, other=0.0)
    a = tl.load(a_ + here, mask=real, other=0.0)
    for t in range(steps):
        # Asked for before it is needed: memory answers while the step is computed.
        current = tl.load(currents + t * row + here, mask=real, other=0.0).to(tl.float32)
        if CHECKPOINTS:
            if t % SEGMENT == 0:
                kept_state = checkpoints + (t // SEGMENT) * 3 * row + here
                tl.store(kept_state, v, mask=real)
                tl.store(kept_state + row, i, mask=real)
                tl.store(kept_state + 2 * row, a, mask=real)
        v, i, z = _current_step(v, i, a, mem, syn)
        tl.store(zs + t * row + here, z, mask=real)
        sent = _dropout(z, seed, dropped, scale, t * streams + stream, unit, units, DROPOUT)
        a = current + _product(sent, weight_t)
        out = outs + (t * streams + stream) * outputs + channel
        tl.store(out, _product(sent, out_weight_t), mask=real_out)
    tl.store(last_v + here, v, mask=real)
    tl.store(last_i + here, i, mask=real)
    tl.store(last_a + here, a, mask=real)


@triton.jit(do_not_specialize=DRAWN)
def current_lif_backward(
    currents, checkpoints, recurrent_t, recurrent, output, mem_, syn_,
    gzs, gz_row, gouts, glast_v, glast_i, glast_a,
    gcurrents, sents, gv_, gi_, ga_, gmem_, gsyn_, scratch,
    steps, streams, units, outputs, seed, dropped, scale, slope, peak,
    SHAPE: tl.constexpr, DROPOUT: tl.constexpr, SPIKES: tl.constexpr,
    SEGMENT: tl.constexpr, BLOCK: tl.constexpr, OUT_BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the gradients of currents, first state and, for each stream, decays; and, for those
    of the weights, the spikes after dropout.

    ``gzs`` holds gradients of spikes, ``gz_row`` numbers from one step's to the next's (0: the
    same for all steps); not read unless ``SPIKES``. ``scratch`` is (SEGMENT, 2, B, N).
    """
    stream = tl.program_id(0)
    unit, channel = tl.arange(0, BLOCK), tl.arange(0, OUT_BLOCK)
    real, real_out = unit < units, channel < outputs
    here, row = stream * units + unit, streams * units
    weight_t = _matrix(recurrent_t, units, units, BLOCK, BLOCK)
    weight = _matrix(recurrent, units, units, BLOCK, BLOCK)
    out_weight = _matrix(output, outputs, units, OUT_BLOCK, BLOCK)
    mem = tl.load(mem_ + unit, mask=real, other=0.0)
    syn = tl.load(syn_ + unit, mask=real, other=0.0)
    gv = tl.load(glast_v + here, mask=real, other=0.0)
    gi = tl.load(glast_i + here, mask=real, other=0.0)
    ga = tl.load(glast_a + here, mask=real, other=0.0)
    gmem = tl.zeros([BLOCK], tl.float32)
    gsyn = tl.zeros([BLOCK], tl.float32)
    segments = (steps + SEGMENT - 1) // SEGMENT
    for done in range(segments):
        first = (segments - 1 - done) * SEGMENT
        length = tl.minimum(steps - first, SEGMENT)
        kept_state = checkpoints + (first // SEGMENT) * 3 * row + here
        v = tl.load(kept_state, mask=real, other=0.0)
        i = tl.load(kept_state + row, mask=real, other=0.0)
        a = tl.load(kept_state + 2 * row, mask=real, other=0.0)
        for k in range(length):
            t = first + k
            current = tl.load(currents + t * row + here, mask=real, other=0.0).to(tl.float32)
            tl.store(scratch + 2 * k * row + here, v, mask=real)
            tl.store(scratch + (2 * k + 1) * row + here, i, mask=real)
            v, i, z = _current_step(v, i, a, mem, syn)
            sent = _dropout(z, seed, dropped, scale, t * streams + stream, unit, units, DROPOUT)
            tl.store(sents + t * row + here, sent, mask=real)
            a = current + _product(sent, weight_t)
        tl.debug_barrier()  # the scratch may be read by other threads than wrote it
        for back in range(length):
            k = length - 1 - back
            t = first + k
            v = tl.load(scratch + 2 * k * row + here, mask=real, other=0.0)
            i = tl.load(scratch + (2 * k + 1) * row + here, mask=real, other=0.0)
            gout = gouts + (t * streams + stream) * outputs + channel
            gout = tl.load(gout, mask=real_out, other=0.0)
            tl.store(gcurrents + t * row + here, ga, mask=real)
            gz = _product(ga, weight) + _product(gout, out_weight)
            gz = _dropout(gz, seed, dropped, scale, t * streams + stream, unit, units, DROPOUT)
            if SPIKES:
                gz += tl.load(gzs + t * gz_row + here, mask=real, other=0.0)
            slopes = _derivative(v - 1.0, slope, peak, SHAPE)
            gv, gi, ga, more_gmem, more_gsyn = _current_step_back(
                v, i, mem, syn, slopes, gz, gv, gi
            )
            gmem += more_gmem
            gsyn += more_gsyn
        tl.debug_barrier()  # before the next segment is written over this one
    tl.store(gv_ + here, gv, mask=real)
    tl.store(gi_ + here, gi, mask=real)
    tl.store(ga_ + here, ga, mask=real)
    tl.store(gmem_ + here, gmem, mask=real)
    tl.store(gsyn_ + here, gsyn, mask=real)


@triton.jit(do_not_specialize=DRAWN)
def current_step(
    v_, i_, a_, mem_, syn_, new_v, new_i, zs, sents,
    t, streams, units, seed, dropped, scale, DROPOUT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Step ``t`` alone: spikes, those after dropout, and v and i after it."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, stream, unit = element < streams * units, element // units, element % units
    mem = tl.load(mem_ + unit, mask=inside, other=0.0)
    syn = tl.load(syn_ + unit, mask=inside, other=0.0)
    v = tl.load(v_ + element, mask=inside, other=0.0)
    i = tl.load(i_ + element, mask=inside, other=0.0)
    a = tl.load(a_ + element, mask=inside, other=0.0)
    v, i, z = _current_step(v, i, a, mem, syn)
    tl.store(new_v + element, v, mask=inside)
    tl.store(new_i + element, i, mask=inside)
    tl.store(zs + element, z, mask=inside)
    sent = _dropout(z, seed, dropped, scale, t * streams + stream, unit, units, DROPOUT)
    tl.store(sents + element, sent, mask=inside)


@triton.jit(do_not_specialize=DRAWN)
def current_step_back(
    v_, i_, mem_, syn_, gzs, gsents, gv_, gi_, ga_, gmem_, gsyn_,
    t, streams, units, seed, dropped, scale, slope, peak,
    SHAPE: tl.constexpr, DROPOUT: tl.constexpr, SPIKES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Step ``t`` alone: gradients of v and i in place, of what arrived, and more of the decays'."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, stream, unit = element < streams * units, element // units, element % units
    mem = tl.load(mem_ + unit, mask=inside, other=0.0)
    syn = tl.load(syn_ + unit, mask=inside, other=0.0)
    v = tl.load(v_ + element, mask=inside, other=0.0)
    i = tl.load(i_ + element, mask=inside, other=0.0)
    gv = tl.load(gv_ + element, mask=inside, other=0.0)
    gi = tl.load(gi_ + element, mask=inside, other=0.0)
    gmem = tl.load(gmem_ + element, mask=inside, other=0.0)
    gsyn = tl.load(gsyn_ + element, mask=inside, other=0.0)
    gz = tl.load(gsents + element, mask=inside, other=0.0)
    gz = _dropout(gz, seed, dropped, scale, t * streams + stream, unit, units, DROPOUT)
    if SPIKES:
        gz += tl.load(gzs + element, mask=inside, other=0.0)
    slopes = _derivative(v - 1.0, slope, peak, SHAPE)
    gv, gi, ga, more_gmem, more_gsyn = _current_step_back(v, i, mem, syn, slopes, gz, gv, gi)
    tl.store(gv_ + element, gv, mask=inside)
    tl.store(gi_ + element, gi, mask=inside)
    tl.store(ga_ + element, ga, mask=inside)
    tl.store(gmem_ + element, gmem + more_gmem, mask=inside)
    tl.store(gsyn_ + element, gsyn + more_gsyn, mask=inside)


@triton.jit
def _lif_step(current, v, z, decay, threshold, RESET: tl.constexpr):
    """The membrane after a step, before it is stored."""
    if RESET == "subtract":
        return decay * v + current - z * threshold
    elif RESET == "zero":
        return decay * (v * (1.0 - z)) + current
    elif RESET == "zero_and_input":
        return (decay * v + current) * (1.0 - z)
    else:
        return decay * v + current


@triton.jit
def _stored(v, grid, lowest, highest, FIXED_POINT: tl.constexpr):
    """``v`` as stored: on the fixed-point grid, or as it is."""
    if FIXED_POINT:
        scaled = v * grid
        # Adding 2**23 leaves no room for a fraction, so that the sum is rounded, ties to even.
        push = tl.where(scaled < 0.0, -HALF_RANGE, HALF_RANGE)
        whole = (scaled + push) - push
        v = tl.where(tl.abs(scaled) < HALF_RANGE, whole, scaled) / grid
        v = tl.where(v < lowest, lowest, tl.where(v > highest, highest, v))
    return v


@triton.jit
def lif_forward(
    currents, recurrent_t, decay_, threshold_, v_, zs, last_v, checkpoints,
    steps, streams, units, grid, lowest, highest,
    RESET: tl.constexpr, FIXED_POINT: tl.constexpr, RECURRENT: tl.constexpr,
    CHECKPOINTS: tl.constexpr, SEGMENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill spikes, the last membrane and the checkpoints (segments, B, N).

    ``zs`` is (T + 1, B, N) and begins with the spikes before the first step.
    """
    stream = tl.program_id(0)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = unit < units
    here, row = stream * units + unit, streams * units
    if RECURRENT:
        weight_t = _matrix(recurrent_t, units, units, BLOCK, BLOCK)
    decay = tl.load(decay_ + unit, mask=real, other=0.0)
    threshold = tl.load(threshold_ + unit, mask=real, other=1.0)
    v = tl.load(v_ + here, mask=real, other=0.0)
    z = tl.load(zs + here, mask=real, other=0.0)
    for t in range(steps):
        current = tl.load(currents + t * row + here, mask=real, other=0.0).to(tl.float32)
        if CHECKPOINTS:
            if t % SEGMENT == 0:
                tl.store(checkpoints + (t // SEGMENT) * row + here, v, mask=real)
        if RECURRENT:
            current += _product(z, weight_t)
        new = _lif_step(current, v, z, decay, threshold, RESET)
        v = _stored(new, grid, lowest, highest, FIXED_POINT)
        z = _fire(v, threshold)
        tl.store(zs + (t + 1) * row + here, z, mask=real)
    tl.store(last_v + here, v, mask=real)


@triton.jit
def lif_backward(
    currents, zs, last_v, checkpoints, recurrent_t, recurrent, decay_, threshold_,
    gzs, gz_row, glast_v, glast_z, gcurrents, gv_, gz_, gdecay_, scratch,
    steps, streams, units, grid, lowest, highest, slope, peak,
    SHAPE: tl.constexpr, RESET: tl.constexpr, FIXED_POINT: tl.constexpr, RECURRENT: tl.constexpr,
    SPIKES: tl.constexpr, SEGMENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the gradients of currents, first state and, for each stream, decay.

    Arguments are those of `lif_forward` and `current_lif_backward`; ``scratch`` holds membranes
    before a step and after it, before they are stored.
    """
    stream = tl.program_id(0)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = unit < units
    here, row = stream * units + unit, streams * units
    if RECURRENT:
        weight_t = _matrix(recurrent_t, units, units, BLOCK, BLOCK)
        weight = _matrix(recurrent, units, units, BLOCK, BLOCK)
    decay = tl.load(decay_ + unit, mask=real, other=0.0)
    threshold = tl.load(threshold_ + unit, mask=real, other=1.0)
    gv = tl.load(glast_v + here, mask=real, other=0.0)
    gz = tl.load(glast_z + here, mask=real, other=0.0)
    after = tl.load(last_v + here, mask=real, other=0.0)
    gdecay = tl.zeros([BLOCK], tl.float32)
    segments = (steps + SEGMENT - 1) // SEGMENT
    for done in range(segments):
        first = (segments - 1 - done) * SEGMENT
        length = tl.minimum(steps - first, SEGMENT)
        v = tl.load(checkpoints + (first // SEGMENT) * row + here, mask=real, other=0.0)
        for k in range(length):
            t = first + k
            current = tl.load(currents + t * row + here, mask=real, other=0.0).to(tl.float32)
            z = tl.load(zs + t * row + here, mask=real, other=0.0)
            tl.store(scratch + 2 * k * row + here, v, mask=real)
            if RECURRENT:
                current += _product(z, weight_t)
            new = _lif_step(current, v, z, decay, threshold, RESET)
            tl.store(scratch + (2 * k + 1) * row + here, new, mask=real)
            v = _stored(new, grid, lowest, highest, FIXED_POINT)
        tl.debug_barrier()  # the scratch may be read by other threads than wrote it
        for back in range(length):
            k = length - 1 - back
            t = first + k
            before = tl.load(scratch + 2 * k * row + here, mask=real, other=0.0)
            z = tl.load(zs + t * row + here, mask=real, other=0.0)
            if SPIKES:
                gz += tl.load(gzs + t * gz_row + here, mask=real, other=0.0)
            g = gv + _derivative(after - threshold, slope, peak, SHAPE) * gz
            if FIXED_POINT:  # the straight-through gradient ends where the membrane saturates
                new = tl.load(scratch + (2 * k + 1) * row + here, mask=real, other=0.0)
                g = tl.where((new >= lowest) & (new <= highest), g, 0.0)
            if RESET == "zero_and_input":
                g *= 1.0 - z
            tl.store(gcurrents + t * row + here, g, mask=real)
            gv = g
            if RESET == "zero":
                gv *= 1.0 - z
            gdecay += gv * before
            gv *= decay
            gz = tl.zeros([BLOCK], tl.float32)
            if RECURRENT:
                gz += _product(g, weight)
            after = before
        tl.debug_barrier()  # before the next segment is written over this one
    tl.store(gv_ + here, gv, mask=real)
    tl.store(gz_ + here, gz, mask=real)
    tl.store(gdecay_ + here, gdecay, mask=real)


@triton.jit
def integrator(
    currents, decay_, v_, vs, steps, streams, units, REVERSE: tl.constexpr, BLOCK: tl.constexpr
):
    """Fill the membranes; in reverse, from the last step to the first."""
    element, row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), streams * units
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
