"""The neuron over time in Triton kernels."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from spikereach.ops.common import triton as common
from spikereach.ops.common.fixed_point import bounds
from spikereach.ops.common.precision import precise
from spikereach.ops.common.surrogates import known
from spikereach.ops.common.triton import (
    SEGMENT,
    counted,
    derivative,
    fire,
    matrix,
    place,
    product,
)
from spikereach.ops.lif.step import LIFState, known_reset, silent

HALF_RANGE = tl.constexpr(2.0**23)
"""From here on every float32 is an integer."""
UNITS = 64
"""Units of a program without recurrence."""


@triton.jit
def step(current, v, z, decay, threshold, RESET: tl.constexpr):
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
def step_back(g, v, z, decay, RESET: tl.constexpr):
    """Gradients of current, v and decay, from that of the membrane after a step."""
    if RESET == "zero_and_input":
        g *= 1.0 - z
    gv = g
    if RESET == "zero":
        gv *= 1.0 - z
    return g, gv * decay, gv * v


@triton.jit
def stored(v, grid):
    """``v`` as stored: on the fixed-point grid, or as it is."""
    if grid is not None:
        per_one, apart, lowest, highest = grid  # powers of two: products are exact
        scaled = v * per_one
        # Adding 2**23 leaves no room for a fraction, so that the sum is rounded, ties to even.
        push = tl.where(scaled < 0.0, -HALF_RANGE, HALF_RANGE)
        whole = (scaled + push) - push
        v = tl.where(tl.abs(scaled) < HALF_RANGE, whole, scaled) * apart
        v = tl.where(v < lowest, lowest, tl.where(v > highest, highest, v))
    return v


@triton.jit
def forward(
    currents, recurrent_t, constants, v_, outputs, sizes, grid,
    RESET: tl.constexpr, SEGMENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the ``outputs``: spikes, the last membrane and, unless they are None, the checkpoints
    (segments, B, N).

    Spikes are (T + 1, B, N) and begin with those before the first step.
    """
    decay_, threshold_ = constants
    zs, last_v, checkpoints = outputs
    steps, streams, units = sizes
    stream = place(0)
    unit = place(1) * BLOCK + tl.arange(0, BLOCK)
    real = unit < units
    here, row = stream * units + unit, counted(streams) * units
    if recurrent_t is not None:
        weight_t = matrix(recurrent_t, units, units, BLOCK, BLOCK)
    decay = tl.load(decay_ + unit, mask=real, other=0.0)
    threshold = tl.load(threshold_ + unit, mask=real, other=1.0)
    v = tl.load(v_ + here, mask=real, other=0.0)
    z = tl.load(zs + here, mask=real, other=0.0)
    for t in range(steps):
        current = tl.load(currents + t * row + here, mask=real, other=0.0).to(tl.float32)
        if checkpoints is not None:
            if t % SEGMENT == 0:
                tl.store(checkpoints + (t // SEGMENT) * row + here, v, mask=real)
        if recurrent_t is not None:
            current += product(z, weight_t)
        v = stored(step(current, v, z, decay, threshold, RESET), grid)
        z = fire(v, threshold)
        tl.store(zs + (t + 1) * row + here, z, mask=real)
    tl.store(last_v + here, v, mask=real)


@triton.jit
def backward(
    currents, weights, constants, kept, outside, gradients, scratch, sizes, grid, surrogate,
    SHAPE: tl.constexpr, RESET: tl.constexpr, SEGMENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the ``gradients`` of currents, first state and, for each stream, decay.

    ``weights``: transposed and as they are, or None; ``kept``: the outputs of `forward`;
    ``outside``: gradients of the spikes as `common.rows` gives them, and of the last state;
    ``scratch`` (SEGMENT, 2, B, N): membranes before a step and after it, before they are stored.
    """
    decay_, threshold_ = constants
    zs, last_v, checkpoints = kept
    gzs, glast_v, glast_z = outside
    gcurrents, gv_, gz_, gdecay_ = gradients
    steps, streams, units = sizes
    stream = place(0)
    unit = place(1) * BLOCK + tl.arange(0, BLOCK)
    real = unit < units
    here, row = stream * units + unit, counted(streams) * units
    if weights is not None:
        weight_t = matrix(weights[0], units, units, BLOCK, BLOCK)
        weight = matrix(weights[1], units, units, BLOCK, BLOCK)
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
            if weights is not None:
                current += product(z, weight_t)
            new = step(current, v, z, decay, threshold, RESET)
            tl.store(scratch + (2 * k + 1) * row + here, new, mask=real)
            v = stored(new, grid)
        tl.debug_barrier()  # the scratch may be read by other threads than wrote it
        for back in range(length):
            k = length - 1 - back
            t = first + k
            before = tl.load(scratch + 2 * k * row + here, mask=real, other=0.0)
            z = tl.load(zs + t * row + here, mask=real, other=0.0)
            if gzs is not None:
                gz += tl.load(gzs[0] + t * counted(gzs[1]) + here, mask=real, other=0.0)
            g = gv + derivative(after - threshold, surrogate, SHAPE) * gz
            if grid is not None:  # the straight-through gradient ends where the membrane saturates
                new = tl.load(scratch + (2 * k + 1) * row + here, mask=real, other=0.0)
                g = tl.where((new >= grid[2]) & (new <= grid[3]), g, 0.0)
            g, gv, more = step_back(g, before, z, decay, RESET)
            tl.store(gcurrents + t * row + here, g, mask=real)
            gdecay += more
            gz = tl.zeros([BLOCK], tl.float32)
            if weights is not None:
                gz += product(g, weight)
            after = before
        tl.debug_barrier()  # before the next segment is written over this one
    tl.store(gv_ + here, gv, mask=real)
    tl.store(gz_ + here, gz, mask=real)
    tl.store(gdecay_ + here, gdecay, mask=real)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents, recurrent, decay, threshold, v, z, rule):
        ctx.set_materialize_grads(False)
        ctx.surrogate, reset, fixed_point = rule
        steps, streams, units = ctx.sizes = tuple(currents.shape)
        block = UNITS if recurrent is None else common.block(units)
        ctx.launch = streams, -(-units // block)
        ctx.options = {"RESET": reset, "BLOCK": block}
        ctx.options |= common.options(32 if recurrent is None else block)
        ctx.grid = None
        if fixed_point is not None:
            per_one, *ends = bounds(*fixed_point)
            ctx.grid = per_one, 1 / per_one, *ends
        currents, decay, threshold, v = (
            each.contiguous() for each in (currents, decay, threshold, v)
        )
        weights = None, None
        if recurrent is not None:
            weights = recurrent.T.contiguous(), recurrent.contiguous()
        segments = common.segments(steps, ctx.needs_input_grad)
        checkpoints = v.new_empty(segments, streams, units) if segments else None
        zs, last_v = v.new_empty(steps + 1, streams, units), torch.empty_like(v)
        zs[0] = z
        outputs = zs, last_v, checkpoints
        constants = decay, threshold
        with common.on(currents):
            forward[ctx.launch](
                currents, weights[0], constants, v, outputs, ctx.sizes, ctx.grid, **ctx.options
            )
        ctx.save_for_backward(currents, *weights, *constants, *outputs)
        return zs[1:], last_v, zs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gzs, gv, gz):
        currents, *weights, decay, threshold, zs, last_v, checkpoints = ctx.saved_tensors
        weights = None if weights[0] is None else tuple(weights)
        constants, kept = (decay, threshold), (zs, last_v, checkpoints)
        outside = common.rows(gzs), *(common.given(each, last_v) for each in (gv, gz))
        # of the currents, the first state, and the decay for each stream
        gradients = last_v.new_empty(ctx.sizes), *(torch.empty_like(last_v) for _ in range(3))
        scratch = last_v.new_empty(SEGMENT, 2, *ctx.sizes[1:])
        shape, *surrogate = ctx.surrogate
        rest = scratch, ctx.sizes, ctx.grid, tuple(surrogate)
        with common.on(currents):
            backward[ctx.launch](
                currents,
                weights,
                constants,
                kept,
                outside,
                gradients,
                *rest,
                SHAPE=shape,
                **ctx.options,
            )
            gcurrents, *gstate, gdecay = gradients
            gweight = None
            if weights is not None:
                gweight = common.weight_gradient(gcurrents, zs[:-1])
        return gcurrents, gweight, gdecay.sum(0), None, *gstate, None


def lif(currents, recurrent, parameters, state, *, surrogate, reset, fixed_point):
    """As `scan_lif`."""
    state = silent(currents) if state is None else state
    weight = None if recurrent is None else precise(recurrent.weight)
    rule = known(surrogate), known_reset(reset), fixed_point
    constants = (common.per_unit(value, currents) for value in parameters)
    z, *last = _LIF.apply(currents, weight, *constants, *state, rule)
    return z, LIFState(*last)
