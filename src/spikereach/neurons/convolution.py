"""Convolution, batch norm, pooling and dropout of training batches in compiled passes.

Layout (B, T, channels): the ``K`` steps under a kernel lie side by side. Spikes are convolved
event by event, other inputs by PyTorch; of each stream the frames are pooled as soon as they are
there. What lies between the convolution and the pooled frames is computed again in the backward
pass, and so is the convolution of spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from spikereach.neurons import kernels
from spikereach.neurons.chunks import Chunks
from spikereach.neurons.cpu import as_spikes, drawn, fixed_point_grid
from spikereach.neurons.dropout import Dropout
from spikereach.neurons.intrinsics import words


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
        ctx.edges = np.cumsum([0, *(part.shape[1] for part in parts)]).tolist()
        ctx.frames = frames = ctx.edges[-1] - taps + 1
        ctx.spikes = _Spikes(parts, ctx.chunks) if rule.events else None
        streams = ctx.spikes or _Values(parts)
        ctx.save_for_backward(weight, *([] if rule.events else parts))
        matrix = streams.matrix(weight)
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
                streams.convolve(b, matrix, y)
                kernels.pool(y, rising, *(out[b] for out in outs), *sums[chunk])

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
        ctx.affine = [v.detach().contiguous().numpy() for v in (centre, scale, shift)]

        def finish(chunk: int, start: int, stop: int) -> None:
            for out, dropout in zip(outs, (drawn(rule.dropout), kernels.ALL), strict=True):
                rows = out[start:stop].reshape(-1, outputs)
                kernels.finish_pool(rows, *ctx.affine, *rule.grid, dropout, start * out.shape[1])

        ctx.chunks.run(finish)
        return pooled, odd, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gpooled, godd, *_):
        weight, *parts = ctx.saved_tensors
        rule, chunks, frames = ctx.rule, ctx.chunks, ctx.frames
        streams = ctx.spikes or _Values(parts)
        matrix, (batch, _, outputs) = streams.matrix(weight), gpooled.shape
        convolved, ctx.convolved = ctx.convolved, None  # not to hold it until the graph goes
        again = convolved is None
        if again:
            convolved = _arrays(batch, frames, outputs)
        outside = [g.contiguous().numpy() for g in (gpooled, godd)]
        centre, scale, _ = ctx.affine
        rules = *ctx.affine, *rule.grid, drawn(rule.dropout)

        def unpool(b: int, gframes: np.ndarray) -> None:
            """Done twice, which takes less than to keep the result."""
            first, received = b * (frames // 2), (g[b] for g in outside)
            kernels.unpool(convolved[b], *rules, first, *received, gframes)

        sums = np.zeros((len(chunks.bounds), 2, outputs))

        def add_up(chunk: int, start: int, stop: int) -> None:
            gframes = np.empty((frames, outputs), np.float32)
            for b in range(start, stop):
                if again:
                    streams.convolve(b, matrix, convolved[b])
                unpool(b, gframes)
                kernels.norm_sums(convolved[b], gframes, centre, *sums[chunk])

        chunks.run(add_up)
        total, product = torch.from_numpy(sums.sum(0))
        gbias, gnorm = total.float(), (None, None)
        if rule.eps is not None:
            gbias, gnorm = torch.zeros(outputs), ((product / ctx.deviation).float(), total.float())
            count = batch * frames
            corrections = total / count, product / (count * ctx.deviation**2)
            total, product = (c.float().numpy() for c in corrections)
        # Inputs that come from the last call, at the beginning, rarely need a gradient.
        needed, gx = ctx.needs_input_grad[5:], None
        if any(needed) and not rule.events:
            skipped = ctx.edges[needed.index(True)]
            gx = weight.new_empty(batch, ctx.edges[-1] - skipped, weight.shape[1])
        shares = np.zeros((len(chunks.bounds), *matrix.shape), np.float32)

        def learn(chunk: int, start: int, stop: int) -> None:
            gy = np.empty((frames, outputs), np.float32)
            for b in range(start, stop):
                unpool(b, gy)
                if rule.eps is not None:
                    kernels.norm_backward(convolved[b], gy, centre, scale, total, product)
                streams.learn(b, gy, shares[chunk])
                if gx is not None:
                    gx[b] = streams.send_back(gy, matrix)[skipped:]

        chunks.run(learn)
        gweight = streams.weight(torch.from_numpy(shares.sum(0)), weight.shape)
        gparts = [None] * len(needed)
        if gx is not None:
            edges = [edge - skipped for edge in ctx.edges]
            bounds = zip(edges[:-1], edges[1:], needed, strict=True)
            gparts = [gx[:, low:high] if need else None for low, high, need in bounds]
        return None, gweight, gbias, *gnorm, *gparts


class _Spikes:
    """Streams as bits, found once, which take little memory."""

    def __init__(self, parts: Sequence[Tensor], chunks: Chunks):
        batch, _, channels = parts[0].shape
        edges = np.cumsum([0, *(part.shape[1] for part in parts)])
        self.bits = np.empty((batch, edges[-1], words(channels)), np.uint64)
        sources = []  # rows, those between two streams, and those between two steps
        for part in parts:
            by_stream = part.is_contiguous()
            rows = as_spikes(part if by_stream else part.transpose(0, 1)).reshape(-1, channels)
            sources.append((rows, *((part.shape[1], 1) if by_stream else (1, batch))))

        def work(chunk: int, start: int, stop: int) -> None:
            for b in range(start, stop):
                for (rows, next_stream, next_step), low, high in zip(
                    sources, edges[:-1], edges[1:], strict=True
                ):
                    bits = self.bits[b, low:high]
                    kernels.spike_bits(rows, b * next_stream, next_step, bits)

        chunks.run(work)

    @staticmethod
    def matrix(weight: Tensor) -> np.ndarray:
        """(C, K O), the tap of the newest input first."""
        return weight.detach().flip(2).permute(1, 2, 0).flatten(1).contiguous().numpy()

    @staticmethod
    def weight(matrix: Tensor, shape: torch.Size) -> Tensor:
        outputs, channels, taps = shape
        return matrix.view(channels, taps, outputs).permute(2, 0, 1).flip(2)

    def convolve(self, b: int, matrix: np.ndarray, y: np.ndarray) -> None:
        kernels.spike_conv_forward(self.bits[b], matrix, y)

    def learn(self, b: int, gy: np.ndarray, gmatrix: np.ndarray) -> None:
        kernels.spike_conv_backward(self.bits[b], gy, gmatrix)


class _Values:
    """Streams of any values, convolved by oneDNN."""

    def __init__(self, parts: Sequence[Tensor]):
        self.parts = [part.detach() for part in parts]

    @staticmethod
    def matrix(weight: Tensor) -> np.ndarray:
        """(O, K C)"""
        return weight.detach().permute(0, 2, 1).flatten(1).contiguous().numpy()

    @staticmethod
    def weight(matrix: Tensor, shape: torch.Size) -> Tensor:
        outputs, channels, taps = shape
        return matrix.view(outputs, taps, channels).permute(0, 2, 1)

    def convolve(self, b: int, matrix: np.ndarray, y: np.ndarray) -> None:
        y[:] = _rows(F.conv2d(_image(self._stream(b)[None]), self._kernel(matrix)))

    def send_back(self, gy: np.ndarray, matrix: np.ndarray) -> Tensor:
        """Gradient of the inputs of a stream from that of its convolution: (S, C)."""
        return _rows(F.conv_transpose2d(_image(torch.from_numpy(gy)[None]), self._kernel(matrix)))

    def learn(self, b: int, gy: np.ndarray, gmatrix: np.ndarray) -> None:
        """Add to the weight's gradient, as products of matrices: runs of K steps that do not
        overlap are one, without a copy."""
        rows = self._stream(b).numpy()
        width, size = gmatrix.shape[1], rows.itemsize
        for offset in range(min(width // rows.shape[1], len(gy))):
            received = gy[offset :: width // rows.shape[1]]
            sent = as_strided(rows[offset:], (len(received), width), (width * size, size))
            gmatrix += received.T @ sent

    def _stream(self, b: int) -> Tensor:
        """(S, C). Put together when it is needed: a copy of all streams would be large."""
        return torch.cat([part[b] for part in self.parts])

    def _kernel(self, matrix: np.ndarray) -> Tensor:
        """(O, C, 1, K)"""
        return _image(torch.from_numpy(matrix).view(len(matrix), -1, self.parts[0].shape[2]))


def _arrays(batch: int, *shape: int) -> list[np.ndarray]:
    """One per stream: they find room where one for all would not."""
    return [np.empty(shape, np.float32) for _ in range(batch)]


def _image(streams: Tensor) -> Tensor:
    """(B, T, C) as (B, C, 1, T), in PyTorch's channels-last format."""
    return streams[:, None].permute(0, 3, 1, 2)


def _rows(image: Tensor) -> Tensor:
    """(1, C, 1, T) as (T, C)."""
    return image[0, :, 0].T


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
    rule = _Rule(events, None if norm is None else norm.eps, fixed_point_grid(fixed_point), dropout)
    weights = (None, None) if norm is None else norm[:2]
    return Pooled(*_ConvPool.apply(rule, weight, bias, *weights, *parts))
