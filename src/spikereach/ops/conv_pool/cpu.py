"""Convolution, batch norm, pooling and dropout in compiled passes.

Layout (B, T, channels): the ``K`` steps under a kernel lie side by side. Spikes are convolved
event by event, other inputs by matrix products; of each stream the frames are pooled as soon as
they are there. What lies between the convolution and the pooled frames is computed again in the
backward pass, and so is the convolution of spikes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikereach.ops.common.chunks import Chunks
from spikereach.ops.common.cpu import as_spikes, drawn, grid
from spikereach.ops.common.dropout import Dropout
from spikereach.ops.common.intrinsics import words
from spikereach.ops.common.loops import ALL
from spikereach.ops.conv_pool import loops

LEAST, MOST = 256, 4096
"""Frames of a stream that are convolved at a time where nothing is learned."""


class Normalisation(NamedTuple):
    """Batch norm by the batch's own mean and variance."""

    weight: Tensor
    bias: Tensor
    eps: float


class Pooled(NamedTuple):
    frames: Tensor
    """(B, n // 2, O)"""
    odd: Tensor
    """(B, n % 2, O): the frame without a partner"""
    mean: Tensor | None
    """(O,) of the convolution's outputs; None without normalisation"""
    variance: Tensor | None
    """(O,), of the sample"""


class _Rule(NamedTuple):
    events: bool
    eps: float | None
    grid: tuple[np.float32, np.float32, np.float32]
    dropout: Dropout | None


class _ConvPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rule, weight, bias, norm_weight, norm_bias, *parts):
        (outputs, _, taps), batch = weight.shape, len(parts[0])
        ctx.rule, ctx.chunks = rule, Chunks(batch, 1)
        streams = _streams(rule.events)(parts)
        ctx.edges, ctx.frames = streams.edges, streams.edges[-1] - taps + 1
        frames, matrix = ctx.frames, streams.matrix(weight)
        ctx.save_for_backward(weight, *([] if rule.events else parts))
        ctx.bits = [None] * batch
        keep = any(ctx.needs_input_grad) and not rule.events
        ctx.convolved = _arrays(batch, frames, outputs) if keep else None
        pooled, odd = (bias.new_empty(batch, n, outputs) for n in (frames // 2, frames % 2))
        outs = pooled.numpy(), odd.numpy()
        rising = np.ones(outputs, bool) if rule.eps is None else (norm_weight >= 0).numpy()
        sums = np.zeros((len(ctx.chunks.bounds), 2, outputs))

        def convolve(chunk: int, start: int, stop: int) -> None:
            scratch = None if keep else np.empty((frames, outputs), np.float32)
            for b in range(start, stop):
                y = ctx.convolved[b] if keep else scratch
                inputs = streams.inputs(b, 0, streams.edges[-1])
                streams.convolve(inputs, matrix, y)
                ctx.bits[b] = inputs if rule.events else None
                loops.pool(y, rising, *(out[b] for out in outs), *sums[chunk])

        ctx.chunks.run(convolve)
        centre, scale, shift = -bias, torch.ones_like(bias), torch.zeros_like(bias)
        mean = variance = None
        if rule.eps is not None:
            count = batch * frames
            mean, variance = torch.from_numpy(sums.sum(0)) / count
            variance -= mean**2
            ctx.deviation = (variance + rule.eps).sqrt()
            centre, scale, shift = mean.float(), (norm_weight / ctx.deviation).float(), norm_bias
            mean = (mean + bias).float()
            variance = (variance * (count / (count - 1))).float()
            ctx.mark_non_differentiable(mean, variance)
        affine = tuple(v.detach().contiguous().numpy() for v in (centre, scale, shift))
        ctx.rules = affine, rule.grid, drawn(rule.dropout)

        def finish(chunk: int, start: int, stop: int) -> None:
            for out, rules in zip(outs, (ctx.rules, (affine, rule.grid, ALL)), strict=True):
                rows = out[start:stop].reshape(-1, outputs)
                loops.finish_pool(rows, rules, start * out.shape[1])

        ctx.chunks.run(finish)
        return pooled, odd, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gpooled, godd, *_):
        weight, *parts = ctx.saved_tensors
        rule, chunks, frames = ctx.rule, ctx.chunks, ctx.frames
        streams = _streams(rule.events)
        matrix, (batch, _, outputs) = streams.matrix(weight), gpooled.shape
        values = None if rule.events else _Values(parts)
        convolved, ctx.convolved = ctx.convolved, None  # not to hold it until the graph goes
        again = convolved is None
        if again:
            convolved = _arrays(batch, frames, outputs)
        outside = [g.contiguous().numpy() for g in (gpooled, godd)]
        affine = ctx.rules[0]

        def inputs(b: int) -> np.ndarray:
            return ctx.bits[b] if rule.events else values.inputs(b, 0, ctx.edges[-1])

        def unpool(b: int, gframes: np.ndarray) -> None:
            """Done twice, which takes less than to keep the result."""
            first, received = b * (frames // 2), (g[b] for g in outside)
            loops.unpool(convolved[b], ctx.rules, first, *received, gframes)

        sums = np.zeros((len(chunks.bounds), 2, outputs))

        def add_up(chunk: int, start: int, stop: int) -> None:
            gframes = np.empty((frames, outputs), np.float32)
            for b in range(start, stop):
                if again:
                    streams.convolve(inputs(b), matrix, convolved[b])
                unpool(b, gframes)
                loops.norm_sums(convolved[b], gframes, affine[0], *sums[chunk])

        chunks.run(add_up)
        total, product = torch.from_numpy(sums.sum(0))
        gbias, gnorm = total.float(), (None, None)
        if rule.eps is not None:
            gbias, gnorm = torch.zeros(outputs), ((product / ctx.deviation).float(), total.float())
            count = batch * frames
            corrections = total / count, product / (count * ctx.deviation**2)
            total, product = (c.float().numpy() for c in corrections)
        # Inputs that come from the last call, at the beginning, rarely need a gradient.
        needed, gx, beyond = ctx.needs_input_grad[5:], None, 0
        if any(needed) and not rule.events:
            skipped = ctx.edges[needed.index(True)]
            gx = weight.new_empty(batch, ctx.edges[-1] - skipped, weight.shape[1])
            beyond = weight.shape[2] - 1
            back = _Values.matrix(weight.transpose(0, 1).flip(2))
        shares = np.zeros((len(chunks.bounds), *matrix.shape), np.float32)

        def learn(chunk: int, start: int, stop: int) -> None:
            # Between zeros, as the convolution that leads back to the inputs takes it.
            around = np.zeros((frames + 2 * beyond, outputs), np.float32)
            gy = around[beyond : beyond + frames]
            for b in range(start, stop):
                unpool(b, gy)
                if rule.eps is not None:
                    loops.norm_backward(convolved[b], gy, affine, total, product)
                streams.learn(inputs(b), gy, shares[chunk])
                if gx is not None:
                    _Values.convolve(around[skipped:], back, gx[b].numpy())

        chunks.run(learn)
        gweight = streams.weight(torch.from_numpy(shares.sum(0)), weight.shape)
        gparts = [None] * len(needed)
        if gx is not None:
            edges = [edge - skipped for edge in ctx.edges]
            bounds = zip(edges[:-1], edges[1:], needed, strict=True)
            gparts = [gx[:, low:high] if need else None for low, high, need in bounds]
        return None, gweight, gbias, *gnorm, *gparts


class _Streams:
    """Inputs (B, S, C) in parts that follow each other."""

    def __init__(self, parts: Sequence[Tensor]):
        self.parts = [part.detach() for part in parts]
        self.edges = np.cumsum([0, *(part.shape[1] for part in parts)]).tolist()

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The parts that hold the steps ``start:stop``: number, and from and to which step."""
        for number, edge in enumerate(self.edges[:-1]):
            low, high = max(start - edge, 0), min(stop - edge, self.edges[number + 1] - edge)
            if low < high:
                yield number, low, high


class _Spikes(_Streams):
    """Spikes, as bits once found, which take little memory."""

    def __init__(self, parts: Sequence[Tensor]):
        super().__init__(parts)
        batch, _, self.channels = parts[0].shape
        self.sources = []  # rows, those between two streams, and those between two steps
        for part in self.parts:
            by_stream = part.is_contiguous()
            rows = as_spikes(part if by_stream else part.transpose(0, 1)).reshape(-1, self.channels)
            self.sources.append((rows, *((part.shape[1], 1) if by_stream else (1, batch))))

    def inputs(self, b: int, start: int, stop: int) -> np.ndarray:
        """Bits (steps, words) of one stream."""
        bits, done = np.empty((stop - start, words(self.channels)), np.uint64), 0
        for number, low, high in self.within(start, stop):
            rows, next_stream, next_step = self.sources[number]
            first = b * next_stream + low * next_step
            loops.spike_bits(rows, first, next_step, bits[done : done + high - low])
            done += high - low
        return bits

    @staticmethod
    def matrix(weight: Tensor) -> np.ndarray:
        """(C, K O), the tap of the newest input first."""
        return weight.detach().flip(2).permute(1, 2, 0).flatten(1).contiguous().numpy()

    @staticmethod
    def weight(matrix: Tensor, shape: torch.Size) -> Tensor:
        outputs, channels, taps = shape
        return matrix.view(channels, taps, outputs).permute(2, 0, 1).flip(2)

    convolve = staticmethod(loops.spike_conv_forward)
    learn = staticmethod(loops.spike_conv_backward)


class _Values(_Streams):
    """Any values."""

    def inputs(self, b: int, start: int, stop: int) -> np.ndarray:
        """(steps, C) of one stream. Put together when needed: a copy of all would be large."""
        found = [self.parts[number][b, low:high] for number, low, high in self.within(start, stop)]
        return torch.cat(found).numpy()

    @staticmethod
    def matrix(weight: Tensor) -> np.ndarray:
        """(K C, O)"""
        return weight.detach().permute(2, 1, 0).flatten(0, 1).contiguous().numpy()

    @staticmethod
    def weight(matrix: Tensor, shape: torch.Size) -> Tensor:
        outputs, channels, taps = shape
        return matrix.view(taps, channels, outputs).permute(2, 1, 0)

    convolve = staticmethod(loops.conv_forward)
    learn = staticmethod(loops.conv_backward)


def _streams(events: bool) -> type[_Spikes] | type[_Values]:
    return _Spikes if events else _Values


def _arrays(batch: int, *shape: int) -> list[np.ndarray]:
    """One per stream: they find room where one for all would not."""
    return [np.empty(shape, np.float32) for _ in range(batch)]


def _spans(batch: int, frames: int) -> list[tuple[int, int, int]]:
    """Number, first frame and end of stretches of the streams: at least four where that is worth a
    thread, so that threads share a single stream, too. No pair of frames is cut."""
    number = max(-(-frames // MOST), min(-(-4 // batch), -(-frames // LEAST)))
    span = -(-frames // (2 * number)) * 2
    return [(b, t, min(t + span, frames)) for b in range(batch) for t in range(0, frames, span)]


def _infer(parts, weight, bias, rule) -> Pooled:
    """:func:`conv_pool` without batch norm, dropout and gradients."""
    (outputs, _, taps), batch = weight.shape, len(parts[0])
    streams = _streams(rule.events)(parts)
    frames, matrix = streams.edges[-1] - taps + 1, streams.matrix(weight)
    pooled, odd = (bias.new_empty(batch, n, outputs) for n in (frames // 2, frames % 2))
    spans = _spans(batch, frames)
    outs, bias = (pooled.numpy(), odd.numpy()), bias.detach().contiguous().numpy()

    def work(_: int, first: int, last: int) -> None:
        for b, start, stop in spans[first:last]:
            y = np.empty((stop - start, outputs), np.float32)
            streams.convolve(streams.inputs(b, start, stop + taps - 1), matrix, y)
            received = outs[0][b, start // 2 : stop // 2], outs[1][b, : int(stop == frames)]
            loops.pool_alone(y, bias, rule.grid, *received)

    Chunks(len(spans), 1, least=1).run(work)
    return Pooled(pooled, odd, None, None)


def conv_pool(
    parts: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor,
    norm: Normalisation | None,
    *,
    events: bool,
    fixed_point: tuple[int, int] | None = None,
    dropout: Dropout | None = None,
) -> Pooled:
    """Convolution without padding, batch norm, maximum of every two frames, dropout.

    In float32 on the CPU. Where two frames are equal, each gets half of the gradient.

    Args:
        parts: inputs that follow each other, (B, n, C) each, S steps together; of one type. For
            ``events`` spikes of any type, not differentiated: what is not zero is one. No
            copy is made of bytes or float32 that are contiguous, or a transposed (n, B, C).
        weight: (O, C, K), K <= S.
        bias: (O,). In front of batch norm it has no effect, and its gradient is zero.
        norm: None: frames are as convolved.
        events: convolve by events.
        fixed_point: integer and fractional bits in which frames are stored.
        dropout: (B, (S - K + 1) // 2, O).
    """
    rule = _Rule(events, None if norm is None else norm.eps, grid(fixed_point), dropout)
    differentiated = any(t.requires_grad for t in (weight, bias, *parts))
    if norm is None and dropout is None and not (torch.is_grad_enabled() and differentiated):
        return _infer(parts, weight, bias, rule)
    weights = (None, None) if norm is None else norm[:2]
    return Pooled(*_ConvPool.apply(rule, weight, bias, *weights, *parts))
