"""Convolution, batch norm, pooling and dropout of training batches in compiled passes.

Layout (B, T, channels): the ``K`` steps under a kernel lie side by side. Spikes are convolved
event by event; other inputs as matrix products, of which each takes every ``K``-th position, so
that none is copied. What lies between the convolution and the pooled frames is computed again
in the backward pass, and so is the convolution of spikes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikereach.neurons import kernels
from spikereach.neurons.chunks import Chunks
from spikereach.neurons.cpu import as_spikes, drawn, fixed_point_grid
from spikereach.neurons.dropout import Dropout


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
    def forward(ctx: Any, before, x, weight, bias, norm_weight, norm_bias, rule):
        ctx.rule, ctx.chunks = rule, Chunks(len(x), 1)
        ctx.shape = batch, steps, outputs = len(x), before.shape[1] + x.shape[1], len(weight)
        ctx.frames = frames = steps - weight.shape[2] + 1
        if rule.events:  # as they come, step by step
            inputs = [part.transpose(0, 1).contiguous() for part in (before, x)]
        else:
            inputs = [torch.cat([before, x], 1)]
        ctx.before = before.shape[1]
        ctx.save_for_backward(weight, *inputs)
        convolved = _convolve(inputs, weight, ctx.chunks, steps, rule.events)
        centre, scale, shift = -bias, torch.ones_like(bias), torch.zeros_like(bias)
        mean = variance = None
        if rule.eps is not None:
            count = batch * frames
            mean, variance = _moments(convolved, frames, ctx.chunks) / count
            variance -= mean**2
            ctx.deviation = (variance + rule.eps).sqrt()
            centre, scale, shift = mean.float(), (norm_weight / ctx.deviation).float(), norm_bias
            mean = (mean + bias).float()
            variance = (variance * (count / (count - 1))).float()
            ctx.mark_non_differentiable(mean, variance)
        ctx.affine = [v.detach().contiguous().numpy() for v in (centre, scale, shift)]
        pooled, odd = (bias.new_empty(batch, n, outputs) for n in (frames // 2, frames % 2))
        arguments = frames, *ctx.affine, *rule.grid, drawn(rule.dropout)

        def pool(chunk: int, start: int, stop: int) -> None:
            first = start * (frames // 2)
            out = pooled.numpy()[start:stop], odd.numpy()[start:stop]
            kernels.pool_forward(convolved[chunk], *arguments, first, *out)

        ctx.chunks.run(pool)
        keep = any(ctx.needs_input_grad) and not rule.events
        ctx.convolved = convolved if keep else None
        return pooled, odd, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gpooled, godd, *_):
        weight, *saved = ctx.saved_tensors
        rule, chunks, frames = ctx.rule, ctx.chunks, ctx.frames
        (batch, steps, outputs), (_, inputs, taps) = ctx.shape, weight.shape
        convolved, ctx.convolved = ctx.convolved, None  # not to hold it until the graph goes
        if convolved is None:
            convolved = _convolve(saved, weight, chunks, steps, rule.events)
        outside = [g.contiguous().numpy() for g in (gpooled, godd)]
        sums = np.zeros((len(chunks.bounds), 2, outputs))
        centre, scale, _ = ctx.affine
        arguments = frames, *ctx.affine, *rule.grid, drawn(rule.dropout)

        def unpool(chunk: int, start: int, stop: int) -> np.ndarray:
            """The frames' gradients, with zeros before the first stream and behind each: the
            padding of the inputs' gradient. Made twice, which takes less than to keep them."""
            padded = np.zeros((taps - 1 + (stop - start) * steps, outputs), np.float32)
            gframes = padded[taps - 1 :].reshape(-1, steps, outputs)
            first, received = start * (frames // 2), (g[start:stop] for g in outside)
            kernels.pool_backward(convolved[chunk], *arguments, first, *received, gframes)
            return padded

        def add_up(chunk: int, start: int, stop: int) -> None:
            gframes = unpool(chunk, start, stop)[taps - 1 :].reshape(-1, steps, outputs)
            kernels.norm_sums(convolved[chunk], gframes, frames, centre, *sums[chunk])

        chunks.run(add_up)
        total, product = torch.from_numpy(sums.sum(0))
        gbias, gnorm = total.float(), (None, None)
        if rule.eps is not None:
            gbias, gnorm = torch.zeros(outputs), ((product / ctx.deviation).float(), total.float())
            count = batch * frames
            corrections = total / count, product / (count * ctx.deviation**2)
            total, product = (c.float().numpy() for c in corrections)
        saved = [as_spikes(part) for part in saved]
        gx = torch.empty(batch, steps, inputs) if any(ctx.needs_input_grad[:2]) else None
        back = weight.flip(2).permute(2, 0, 1).flatten(0, 1).contiguous().numpy()
        size = (inputs, taps * outputs) if rule.events else (taps * inputs, outputs)
        shares = np.zeros((len(chunks.bounds), *size), np.float32)

        def learn(chunk: int, start: int, stop: int) -> None:
            padded, share = unpool(chunk, start, stop), shares[chunk]
            gy = padded[taps - 1 :].reshape(-1, steps, outputs)
            if rule.eps is not None:
                kernels.norm_backward(convolved[chunk], gy, frames, centre, scale, total, product)
            if rule.events:
                kernels.spike_conv_backward(*saved, gy, start, stop, share)
            else:
                for sent, received in _windows(_rows(saved[0][start:stop]), _rows(gy), taps):
                    share += sent.T @ received
            if gx is not None:
                for received, sent in _windows(padded, _rows(gx.numpy()[start:stop]), taps):
                    np.matmul(received, back, out=sent)

        chunks.run(learn)
        gweight = torch.from_numpy(shares.sum(0))
        if rule.events:  # newest tap first
            gweight = gweight.view(inputs, taps, outputs).permute(2, 0, 1).flip(2)
        else:
            gweight = gweight.view(taps, inputs, outputs).permute(2, 1, 0)
        ginputs = (None, None) if gx is None else (gx[:, : ctx.before], gx[:, ctx.before :])
        return *ginputs, gweight, gbias, *gnorm, None


def _convolve(
    inputs: list[Tensor], weight: Tensor, chunks: Chunks, steps: int, events: bool
) -> list[np.ndarray]:
    """(B, T, O) of each chunk, without bias; the last K - 1 rows of a stream mean nothing."""
    outputs, _, taps = weight.shape
    inputs = [as_spikes(part) for part in inputs]
    convolved = [np.empty((b - a, steps, outputs), np.float32) for a, b in chunks.bounds]
    if events:
        matrix = weight.flip(2).permute(1, 2, 0).flatten(1)
    else:
        matrix = weight.permute(2, 1, 0).flatten(0, 1)
    matrix = matrix.detach().contiguous().numpy()

    def work(chunk: int, start: int, stop: int) -> None:
        y = convolved[chunk]
        if events:
            kernels.spike_conv_forward(*inputs, matrix, start, stop, y)
        else:
            for sent, received in _windows(_rows(inputs[0][start:stop]), _rows(y), taps):
                np.matmul(sent, matrix, out=received)

    chunks.run(work)
    return convolved


def _moments(convolved: list[np.ndarray], frames: int, chunks: Chunks) -> Tensor:
    """Sums per channel, and those of squares, in float64: (2, O)."""
    sums = np.zeros((len(convolved), 2, convolved[0].shape[2]))
    chunks.run(lambda chunk, *_: kernels.moments(convolved[chunk], frames, *sums[chunk]))
    return torch.from_numpy(sums.sum(0))


def _rows(streams: np.ndarray) -> np.ndarray:
    """(B, T, C) as (B T, C)."""
    return streams.reshape(-1, streams.shape[2])


def _windows(rows: np.ndarray, results: np.ndarray, taps: int):
    """All runs of ``taps`` rows with their rows of results, without copies.

    Yields (n, taps C) and (n, O) ``taps`` times: runs that do not overlap are a matrix.
    """
    size, width = rows.itemsize, rows.shape[1]
    for offset in range(taps):
        here = rows[offset:]
        count = len(here) // taps
        if count:
            row = taps * width
            yield (
                as_strided(here, (count, row), (row * size, size)),
                results[offset::taps][:count],
            )


def conv_pool(
    before: Tensor,
    x: Tensor,
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
        before: (B, P, C), the inputs that come before ``x``.
        x: (B, T, C). For ``events`` of any type, mostly zeros, not differentiated; fastest are
            bytes, and a transposed (T, B, C), of which no copy is made.
        weight: (O, C, K), K <= P + T.
        bias: (O,). In front of batch norm it has no effect, and its gradient is zero.
        norm: None: frames are as convolved.
        events: convolve by events.
        fixed_point: integer and fractional bits in which frames are stored.
        dropout: (B, (P + T - K + 1) // 2, O).
    """
    rule = _Rule(events, None if norm is None else norm.eps, fixed_point_grid(fixed_point), dropout)
    weights = (None, None) if norm is None else norm[:2]
    return Pooled(*_ConvPool.apply(before.to(x.dtype), x, weight, bias, *weights, rule))
