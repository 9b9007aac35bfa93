"""The neuron over time in Triton kernels.

With more units than `MAX_UNITS` the weights do not fit into one program: `wide_forward` and
`wide_backward` then stand for the kernels and take the same arguments, with a matrix product per
step and a kernel for the rest; the outputs, from which nothing comes back, take one per segment.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from spikereach.ops.common import backends
from spikereach.ops.common import triton as common
from spikereach.ops.common.surrogates import known
from spikereach.ops.common.triton import (
    SEGMENT,
    counted,
    derivative,
    drawing,
    dropped,
    fire,
    matrix,
    place,
    product,
)
from spikereach.ops.current_lif.step import CurrentState

ELEMENTS = 256
"""Elements of a program of one step's kernels."""


@triton.jit
def step(v, i, a, mem, syn):
    """v and i of the neuron, and its spikes."""
    z = fire(v, 1.0)
    return (mem * v + (1.0 - mem) * i) * (1.0 - z), syn * i + a, z


@triton.jit
def step_back(v, i, mem, syn, slopes, gz, gv, gi):
    """Gradients of v, i, what arrived, mem and syn, from those of z and of v and i after."""
    through = (1.0 - fire(v, 1.0)) * gv
    after_v = mem * through + slopes * gz
    after_i = syn * gi + (1.0 - mem) * through
    return after_v, after_i, gi, through * (v - i), gi * i


@triton.jit
def load(pointers, place, mask):
    """Of two or three arrays."""
    first = tl.load(pointers[0] + place, mask=mask, other=0.0)
    second = tl.load(pointers[1] + place, mask=mask, other=0.0)
    if len(pointers) == 2:
        return first, second
    else:
        return first, second, tl.load(pointers[2] + place, mask=mask, other=0.0)


@triton.jit
def store(pointers, place, values, mask):
    for n in tl.static_range(len(values)):
        tl.store(pointers[n] + place, values[n], mask=mask)


@drawing
def forward(
    currents, weights_t, decays, state, outputs, last, checkpoints, sizes, drawn,
    SEGMENT: tl.constexpr, BLOCK: tl.constexpr, OUT_BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the ``outputs`` (spikes and what they send to the outputs), the last state and, every
    ``SEGMENT`` steps, the checkpoints (segments, 3, B, N), if there are any."""
    steps, streams, units, channels = sizes
    streams = counted(streams)
    zs, outs = outputs
    stream = place(0)
    unit, channel = counted(tl.arange(0, BLOCK)), counted(tl.arange(0, OUT_BLOCK))
    real, real_out = unit < units, channel < channels
    here, row = stream * units + unit, streams * units
    weight_t = matrix(weights_t[0], units, units, BLOCK, BLOCK)
    out_weight_t = matrix(weights_t[1], units, channels, BLOCK, OUT_BLOCK)
    mem, syn = load(decays, unit, real)
    v, i, a = load(state, here, real)
    for t in range(steps):
        # Asked for before it is needed: memory answers while the step is computed.
        current = tl.load(currents + t * row + here, mask=real, other=0.0).to(tl.float32)
        if checkpoints is not None:
            if t % SEGMENT == 0:
                kept = checkpoints + (t // SEGMENT) * 3 * row
                store((kept, kept + row, kept + 2 * row), here, (v, i, a), real)
        v, i, z = step(v, i, a, mem, syn)
        tl.store(zs + t * row + here, z, mask=real)
        sent = dropped(z, drawn, t * streams + stream, unit, units)
        a = current + product(sent, weight_t)
        out = outs + (t * streams + stream) * channels + channel
        tl.store(out, product(sent, out_weight_t), mask=real_out)
    store(last, here, (v, i, a), real)


@drawing
def backward(
    currents, checkpoints, weights, decays, outside, glast, gsteps, ghere, scratch, sizes, drawn,
    surrogate, SHAPE: tl.constexpr,
    SEGMENT: tl.constexpr, BLOCK: tl.constexpr, OUT_BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill ``gsteps``, gradients of the currents and, for those of the weights, the spikes after
    dropout (T, B, N); and ``ghere``, those of the first state and, for each stream, decays (B, N).

    ``weights``: of recurrence, transposed and as they are, and of outputs; ``outside``: gradients
    of the spikes, as `common.rows` gives them, and of the outputs; ``glast``: of the last state;
    ``scratch``: (SEGMENT, 2, B, N); the others as in `forward`.
    """
    steps, streams, units, channels = sizes
    streams = counted(streams)
    gzs, gouts = outside
    gcurrents, sents = gsteps
    stream = place(0)
    unit, channel = counted(tl.arange(0, BLOCK)), counted(tl.arange(0, OUT_BLOCK))
    real, real_out = unit < units, channel < channels
    here, row = stream * units + unit, streams * units
    weight_t = matrix(weights[0], units, units, BLOCK, BLOCK)
    weight = matrix(weights[1], units, units, BLOCK, BLOCK)
    out_weight = matrix(weights[2], channels, units, OUT_BLOCK, BLOCK)
    mem, syn = load(decays, unit, real)
    gv, gi, ga = load(glast, here, real)
    gmem = tl.zeros([BLOCK], tl.float32)
    gsyn = tl.zeros([BLOCK], tl.float32)
    segments = (steps + SEGMENT - 1) // SEGMENT
    for done in range(segments):
        first = (segments - 1 - done) * SEGMENT
        length = tl.minimum(steps - first, SEGMENT)
        kept = checkpoints + (first // SEGMENT) * 3 * row
        v, i, a = load((kept, kept + row, kept + 2 * row), here, real)
        for k in range(length):
            t = first + k
            current = tl.load(currents + t * row + here, mask=real, other=0.0).to(tl.float32)
            before = scratch + 2 * k * row
            store((before, before + row), here, (v, i), real)
            v, i, z = step(v, i, a, mem, syn)
            sent = dropped(z, drawn, t * streams + stream, unit, units)
            tl.store(sents + t * row + here, sent, mask=real)
            a = current + product(sent, weight_t)
        tl.debug_barrier()  # the scratch may be read by other threads than wrote it
        for back in range(length):
            k = length - 1 - back
            t = first + k
            before = scratch + 2 * k * row
            v, i = load((before, before + row), here, real)
            gout = gouts + (t * streams + stream) * channels + channel
            gout = tl.load(gout, mask=real_out, other=0.0)
            tl.store(gcurrents + t * row + here, ga, mask=real)
            gz = product(ga, weight) + product(gout, out_weight)
            gz = dropped(gz, drawn, t * streams + stream, unit, units)
            if gzs is not None:
                gz += tl.load(gzs[0] + t * counted(gzs[1]) + here, mask=real, other=0.0)
            slopes = derivative(v - 1.0, surrogate, SHAPE)
            gv, gi, ga, more_gmem, more_gsyn = step_back(v, i, mem, syn, slopes, gz, gv, gi)
            gmem += more_gmem
            gsyn += more_gsyn
        tl.debug_barrier()  # before the next segment is written over this one
    store(ghere, here, (gv, gi, ga, gmem, gsyn), real)


@drawing
def one_step(state, decays, new, spikes, t, sizes, drawn, BLOCK: tl.constexpr):
    """Step ``t`` alone: v and i after it, and spikes before and after dropout."""
    _, streams, units, _ = sizes
    element = place(0) * BLOCK + tl.arange(0, BLOCK)
    inside, stream, unit = element < streams * units, element // units, element % units
    mem, syn = load(decays, unit, inside)
    v, i, a = load(state, element, inside)
    v, i, z = step(v, i, a, mem, syn)
    sent = dropped(z, drawn, counted(t) * streams + stream, unit, units)
    store(new, element, (v, i), inside)
    store(spikes, element, (z, sent), inside)


@drawing
def one_step_back(
    before, decays, gzs, gsents, ghere, t, sizes, drawn, surrogate,
    SHAPE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Step ``t`` alone: gradients of v and i in place, of what arrived, and more of the decays'."""
    _, streams, units, _ = sizes
    element = place(0) * BLOCK + tl.arange(0, BLOCK)
    inside, stream, unit = element < streams * units, element // units, element % units
    mem, syn = load(decays, unit, inside)
    v, i = load(before, element, inside)
    gv, gi = load((ghere[0], ghere[1]), element, inside)
    gmem, gsyn = load((ghere[3], ghere[4]), element, inside)
    gz = tl.load(gsents + element, mask=inside, other=0.0)
    gz = dropped(gz, drawn, counted(t) * streams + stream, unit, units)
    if gzs is not None:
        gz += tl.load(gzs + element, mask=inside, other=0.0)
    slopes = derivative(v - 1.0, surrogate, SHAPE)
    gv, gi, ga, more_gmem, more_gsyn = step_back(v, i, mem, syn, slopes, gz, gv, gi)
    store(ghere, element, (gv, gi, ga, gmem + more_gmem, gsyn + more_gsyn), inside)


def _launch(kernel: Any, like: Tensor, *arguments: Any, **constants: Any) -> None:
    grid = (-(-like.numel() // ELEMENTS),)
    kernel[grid](*arguments, **constants, BLOCK=ELEMENTS, enable_fp_fusion=False)


def wide_forward(currents, weights_t, decays, state, outputs, last, checkpoints, sizes, drawn):
    """As `forward`."""
    (recurrent_t, output_t), (zs, outs) = weights_t, outputs
    steps, _, units, channels = sizes
    for each, first in zip(last, state, strict=True):
        each.copy_(first)
    kept = None if drawn is None else torch.empty_like(zs[:SEGMENT])
    for first in range(0, steps, SEGMENT):
        if checkpoints is not None:
            torch.stack(last, out=checkpoints[first // SEGMENT])
        here = range(first, min(first + SEGMENT, steps))
        sent = zs[first : here.stop] if kept is None else kept[: len(here)]
        for t, now in zip(here, sent, strict=True):
            _launch(one_step, now, last, decays, last[:2], (zs[t], now), t, sizes, drawn)
            torch.addmm(currents[t], now, recurrent_t, out=last[2])
        # Nothing comes back from the outputs: one product for all steps of a segment.
        rows = sent.view(-1, units), outs[first : here.stop].view(-1, channels)
        torch.mm(rows[0], output_t, out=rows[1])


def wide_backward(
    currents, checkpoints, weights, decays, outside, glast, gsteps, ghere, scratch, sizes, drawn,
    surrogate, SHAPE,
):  # fmt: skip
    """As `backward`."""
    (recurrent_t, recurrent, output), (gzs, gouts) = weights, outside
    (gcurrents, sents), (gv, gi, ga, gmem, gsyn), steps = gsteps, ghere, sizes[0]
    gv.copy_(glast[0])
    gi.copy_(glast[1])
    gmem.zero_()
    gsyn.zero_()
    gcurrents[-1] = glast[2]
    z, gz = torch.empty_like(gv), torch.empty_like(scratch[:, 0])
    for first in reversed(range(0, steps, SEGMENT)):
        here = range(first, min(first + SEGMENT, steps))
        v, i, a = state = checkpoints[first // SEGMENT].clone().unbind()
        for t, before in zip(here, scratch, strict=False):
            torch.stack((v, i), out=before)
            _launch(one_step, z, state, decays, (v, i), (z, sents[t]), t, sizes, drawn)
            torch.addmm(currents[t], sents[t], recurrent_t, out=a)
        rows = gouts[first : here.stop].flatten(0, 1), gz[: len(here)].view(-1, gz.shape[-1])
        torch.mm(rows[0], output, out=rows[1])
        for t in reversed(here):
            sent = gz[t - first].addmm_(gcurrents[t], recurrent)
            now = None if gzs is None else gzs[0][t] if gzs[1] else gzs[0]
            there = gv, gi, gcurrents[t - 1] if t else ga, gmem, gsyn
            rest = now, sent, there, t, sizes, drawn, surrogate
            _launch(one_step_back, sent, scratch[t - first].unbind(), decays, *rest, SHAPE=SHAPE)


class _CurrentLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, w_input, w_recurrent, w_output, mem, syn, v, i, a, rule):
        ctx.set_materialize_grads(False)
        ctx.surrogate, ctx.received, sent = rule
        steps, streams, _ = x.shape
        outputs, units = w_output.shape
        ctx.sizes, ctx.sent = (steps, streams, units, outputs), common.drawn(sent)
        ctx.passes, options = (wide_forward, wide_backward), {}
        if units <= backends.MAX_UNITS:
            ctx.passes = forward[(streams,)], backward[(streams,)]
            block = common.block(units)
            options = {"BLOCK": block, "OUT_BLOCK": common.block(outputs)} | common.options(block)
        ctx.options = options
        weights = [each.contiguous() for each in (w_recurrent, w_output)]
        weights_t = tuple(each.T.contiguous() for each in weights)
        decays, state = (tuple(t.contiguous() for t in each) for each in ((mem, syn), (v, i, a)))
        segments = common.segments(steps, ctx.needs_input_grad)
        checkpoints = v.new_empty(segments, 3, streams, units) if segments else None
        z, out = v.new_empty(steps, streams, units), v.new_empty(steps, streams, outputs)
        last = tuple(torch.empty_like(each) for each in state)
        with common.on(x):
            currents = F.linear(common.received(x, ctx.received), w_input)
            rest = (z, out), last, checkpoints, ctx.sizes, ctx.sent
            ctx.passes[0](currents, weights_t, decays, state, *rest, **options)
        ctx.save_for_backward(x, w_input, checkpoints, weights_t[0], *weights, *decays)
        return z, out, *last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gz, gout, gv, gi, ga):
        x, w_input, checkpoints, *weights, mem, syn = ctx.saved_tensors
        steps, streams, units, outputs = ctx.sizes
        first = checkpoints[0, 0]
        glast = tuple(common.given(each, first) for each in (gv, gi, ga))
        gout = common.given(gout, first.new_empty(steps, streams, outputs))
        gcurrents, sents = (first.new_empty(steps, streams, units) for _ in range(2))
        ghere = tuple(torch.empty_like(first) for _ in range(5))
        scratch = first.new_empty(SEGMENT, 2, streams, units)
        shape, *surrogate = ctx.surrogate
        with common.on(x):
            received = common.received(x, ctx.received)
            currents, outside = F.linear(received, w_input), (common.rows(gz), gout)
            rest = outside, glast, (gcurrents, sents), ghere, scratch, ctx.sizes, ctx.sent
            arguments = currents, checkpoints, tuple(weights), (mem, syn), *rest, tuple(surrogate)
            ctx.passes[1](*arguments, SHAPE=shape, **ctx.options)
            del currents, arguments
            pairs = (gcurrents, received), (gcurrents, sents), (gout, sents)
            gweights = [common.weight_gradient(*pair) for pair in pairs]
        *gstate, gmem, gsyn = ghere
        return None, *gweights, gmem.sum(0), gsyn.sum(0), *gstate, None


def current_lif(x, layers, parameters, state, *, surrogate, dropout, fixed_point):
    """As `scan_current_lif`; ``fixed_point`` is None."""
    rule = (known(surrogate), *dropout)
    z, out, *last = _CurrentLIF.apply(x, *layers.weights, *parameters, *state, rule)
    return z, out, CurrentState(*last)
