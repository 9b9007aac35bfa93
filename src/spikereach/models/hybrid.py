"""Hybrid convolutional and spiking decoders: BMnet, RTnet and sRTnet (Krausse et al. 2025)."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise, repeat
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikereach.models import stages, streams
from spikereach.models.buffers import layer_buffers
from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.models.initial import likely_spikes, spread_membranes
from spikereach.models.keypoints import interpolate
from spikereach.models.layers import Conv1d, Linear
from spikereach.models.presence import Frames, Presence
from spikereach.models.recurrent_lif import RecurrentLIF, neuron
from spikereach.ops.common.backends import may_compile
from spikereach.ops.common.dropout import ChannelDropout, Dropout, draw_dropout
from spikereach.ops.common.fixed_point import Formats, bits_of, stored
from spikereach.ops.common.record import note_call, noted
from spikereach.ops.conv_pool import Normalisation, conv_pool
from spikereach.ops.conv_pool.stream import ConvPoolStream
from spikereach.ops.lif.step import LIFState

Merge = Literal["none", "pre-LIF", "post-LIF", "gate"]

STEPS = 1024
"""Of random spikes on which initial weights are measured."""
FRAME_SPREAD = 0.5
"""Initial deviation of a convolution's outputs: four of them fit the range of 2 of sRTnet's
buffers."""
LARGER_OF_TWO = 1 / math.sqrt(math.pi)
"""Mean of the larger of two independent standard normal numbers: a pool's mean output."""
MEMBRANE_SPREAD = 1.0
"""Initial root mean square of a membrane that does not spike, in thresholds."""
NETS = 2
"""Spiking nets of each decoder behind a gate, whose predictions are averaged."""


class BlockState(NamedTuple):
    """What a block keeps between two calls."""

    inputs: Tensor
    """(B, n, inputs): at most kernel - 1 latest inputs; at first kernel // 2 zeros, the padding"""
    odd: Tensor
    """(B, 0 or 1, channels): output of the convolution that waits for its partner in the pool"""


class Block(nn.Module):
    """Conv1d, in training batch norm, MaxPool(2, 2), dropout.

    Streaming a centred, zero-padded convolution: the padding before the first input is data
    already there, and an output appears once its last input has.
    """

    def __init__(
        self, inputs: int, channels: int, kernel: int, *, norm: bool, dropout: float, spikes: bool
    ):
        super().__init__()
        self.conv = Conv1d(inputs, channels, kernel)
        self.norm = nn.BatchNorm1d(channels) if norm else None
        self.dropout = dropout
        self.spikes = spikes
        """Whether the inputs are spikes: mostly zeros, and not differentiated."""

    def init_state(self, batch: int) -> BlockState:
        (kernel,) = self.conv.kernel_size
        device = self.conv.weight.device
        return BlockState(
            torch.zeros(batch, kernel // 2, self.conv.in_channels, device=device),
            torch.zeros(batch, 0, self.conv.out_channels, device=device),
        )

    def forward(
        self, x: Sequence[Tensor], state: BlockState, formats: Formats
    ) -> tuple[list[Tensor], BlockState]:
        """Pooled outputs (B, about T / 2, channels) for inputs (B, T, inputs), T >= 0; these and
        those come in parts that follow each other."""
        (kernel,) = self.conv.kernel_size
        parts = [state.inputs.to(x[0].dtype), *x]
        kept = torch.cat([part[:, max(0, part.shape[1] - kernel + 1) :] for part in parts], 1)
        kept = kept[:, max(0, kept.shape[1] - kernel + 1) :]
        steps = sum(part.shape[1] for part in parts)
        if steps >= kernel and self._compiled(x, state, formats):
            if noted(self.conv):
                note_call(self.conv, torch.cat(parts, dim=1).transpose(1, 2)[None])
            pooled, odd = self._pass(parts, formats)
            return [pooled], BlockState(kept, odd)
        frames = state.odd
        if steps >= kernel:
            kind = torch.promote_types(self.conv.weight.dtype, torch.float32)  # also of half ones
            outputs = self.conv(torch.cat(parts, dim=1).transpose(1, 2).to(kind))
            if self.norm is not None:
                outputs = self.norm(outputs)
            # The maximum commutes with rounding: pooled frames are on the buffers' grid too.
            outputs = stored(outputs, formats.buffers).transpose(1, 2)
            frames = torch.cat([frames, outputs], dim=1) if frames.shape[1] else outputs
        whole = frames.shape[1] // 2 * 2
        pooled = torch.maximum(frames[:, :whole:2], frames[:, 1:whole:2])
        dropout = self._draw_dropout(pooled.shape)
        pooled = pooled if dropout is None else dropout(pooled)
        return [pooled], BlockState(kept, frames[:, whole:])

    def _compiled(self, x: Sequence[Tensor], state: BlockState, formats: Formats) -> bool:
        """Whether :meth:`_pass` takes these inputs, and faster than the modules."""
        if state.odd.shape[1]:
            return False
        if self.training and not self.spikes:  # differentiated by a pass of its own
            x = [part.detach() for part in x]
        return may_compile(*x) and not (self.training and formats.buffers == "float16")

    def _pass(self, parts: Sequence[Tensor], formats: Formats) -> tuple[Tensor, Tensor]:
        """What the modules do, in compiled passes: pooled outputs and the odd frame."""
        norm, weight, bias = self.norm, self.conv.weight, self.conv.bias
        if not self.training:
            (weight, bias), norm = self._folded(), None
        frames = sum(part.shape[1] for part in parts) - self.conv.kernel_size[0] + 1
        result = conv_pool(
            parts,
            weight.float(),
            bias.float(),
            None if norm is None else Normalisation(norm.weight, norm.bias, norm.eps),
            events=self.spikes,
            fixed_point=bits_of(formats.buffers),
            dropout=self._draw_dropout((len(parts[0]), frames // 2, self.conv.out_channels)),
        )
        if norm is not None:
            with torch.no_grad():
                norm.num_batches_tracked.add_(1)
                norm.running_mean.lerp_(result.mean, norm.momentum)
                norm.running_var.lerp_(result.variance, norm.momentum)
        if formats.buffers == "float16":
            return stored(result.frames, formats.buffers), stored(result.odd, formats.buffers)
        return result.frames, result.odd

    def _draw_dropout(self, shape: tuple[int, ...]) -> Dropout | None:
        if self.training and self.dropout:
            return draw_dropout(shape, self.dropout, self.conv.weight.device)
        return None

    def streamer(self, state: BlockState, formats: Formats) -> ConvPoolStream:
        """This block for one stream, in evaluation mode."""
        weight, bias = self._folded()
        return ConvPoolStream(weight, bias, formats.buffers, state.inputs[0], state.odd[0])

    def stage(self, name: str, formats: Formats) -> stages.Convolution:
        """This block as an exported decoder has it."""
        weight, bias = (each.detach() for each in self._folded())
        return stages.Convolution(name, weight, bias, weight.shape[2] // 2, formats.buffers)

    def fold(self) -> None:
        """Merge the batch norm's running statistics and affine map into the convolution."""
        weight, bias = self._folded()
        with torch.no_grad():
            self.conv.weight.copy_(weight)
            self.conv.bias.copy_(bias)
        self.norm = None

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution with the batch norm in them."""
        conv, norm = self.conv, self.norm
        if norm is None:
            return conv.weight, conv.bias
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = (conv.bias - norm.running_mean) * scale + norm.bias
        return conv.weight * scale[:, None, None], bias


class Chain(nn.ModuleList):
    """Layers one after the other, each with a state of its own."""

    def init_state(self, batch: int) -> tuple[NamedTuple, ...]:
        return tuple(layer.init_state(batch) for layer in self)

    def forward(
        self, x: Any, states: Sequence[NamedTuple], formats: Formats
    ) -> tuple[Any, tuple[NamedTuple, ...]]:
        """Outputs of the last layer, and all new states."""
        after = []
        for layer, state in zip(self, states, strict=True):
            x, state = layer(x, state, formats)
            after.append(state)
        return x, tuple(after)

    def streamer(self, states: Sequence[NamedTuple], formats: Formats) -> streams.Stream:
        """The layers for one stream."""
        stages = zip(self, states, strict=True)
        return streams.chain(*(layer.streamer(state, formats) for layer, state in stages))


class HybridState(NamedTuple):
    """All that a stream carries over."""

    blocks: tuple[tuple[BlockState, ...], ...]
    """by convolution module and block"""
    neurons: tuple[tuple[LIFState, ...], ...]
    """by spiking net and layer"""
    keypoint: Tensor
    """(0 or 1, B, 2): the latest keypoint"""
    ready: Tensor
    """(n, B, 2): velocities not yet due; at first the silence before the first keypoint"""
    presence: Presence | None
    """of the areas that are a gate, if any are"""


class Hybrid(Decoder):
    r"""Convolution blocks, recurrent LIF layers, and keypoints that are interpolated.

    Block ``i`` is Conv1d with kernel :math:`k 2^i`, MaxPool(2, 2) and dropout; after ``n`` blocks
    one frame stands for :math:`r = 2^n` steps. :class:`RecurrentLIF` layers run over the frames,
    a linear read-out of the last one's spikes gives one keypoint per frame, and velocities
    between keypoints are interpolated linearly. Keypoint ``j`` is the velocity of step
    ``r j``; a window of ``L`` steps has ``L / r + 1`` of them.

    Kernels are centred (``kernel // 2`` zeros before the first input), so that a keypoint's
    receptive field of ``f`` steps ends ``f / 2`` steps after it. The step just after a keypoint
    needs the next one, ``r - 1`` steps on: together that is ``timing.lookahead``. The size
    ``lookahead`` shifts all kernels into the past, so that the field ends so many steps after its
    keypoint. The same frames then stand for later steps; the first steps of a stream, as many as
    kernels are shifted by, have no keypoint, and their velocity is zero.

    Cortex areas (figure 5) may have convolution modules of their own. ``merge``: ``none``, all
    channels enter one module; ``pre-LIF``, the modules' outputs are concatenated and enter one
    spiking net; ``post-LIF``, each area has its spiking net too, and one linear read-out of
    all their last spikes gives the keypoints (the sum of one linear prediction per area).

    Ours, in no paper: ``gate``, a decoder of the first area alone and one of all areas by pre-LIF,
    and the other areas gate which of them is read: that of all areas in frames in whose receptive
    field each other area has a spike, that of the first area in all other frames. Either has
    :data:`NETS` spiking nets that read the same frames, and predicts the mean of their linear
    predictions. In training each net predicts for itself and has a loss of its own. The two share
    no weights but the read-out's bias, so that the first area alone is decoded as by a net that
    has never heard of the others.

    Args:
        channels: input channels C.
        blocks: convolution blocks, n.
        kernel: kernel of the first convolution, k.
        conv_channels: channels of every convolution, per module.
        lif_layers: recurrent layers per spiking net.
        lif_units: neurons per layer.
        dropout: probability of dropping a value after a block, in training.
        batch_norm: normalise after each convolution until :meth:`fold`.
        tau_mem_ms: membrane time constant.
        surrogate: ``fast_sigmoid``, ``triangle`` or ``arctan``.
        slope: the surrogate's slope (of the triangle: its peak).
        merge: where areas come together.
        channel_dropout: probability that, in training, a channel is silent for a window.
        lookahead: steps after a keypoint that its kernels reach, from 0 on; None: centred.
        area_channels: channels of each area, in order; needed unless ``merge`` is ``none``.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    takes_bytes = True

    def __init__(
        self,
        *,
        channels: int,
        blocks: int,
        kernel: int,
        conv_channels: int,
        lif_layers: int,
        lif_units: int,
        dropout: float,
        batch_norm: bool = True,
        tau_mem_ms: float = 100.0,
        surrogate: str = "fast_sigmoid",
        slope: float = 5.0,
        merge: Merge = "none",
        channel_dropout: float = 0.0,
        lookahead: int | None = None,
        area_channels: Sequence[int] | None = None,
    ):
        if min(blocks, kernel, conv_channels, lif_layers, lif_units) < 1:
            raise ValueError("blocks, kernel, channels, layers and units must be at least 1")
        if merge not in Merge.__args__:
            raise ValueError(f"unknown merge {merge!r}; known: {', '.join(Merge.__args__)}")
        if merge != "none" and sum(area_channels or ()) != channels:
            raise ValueError(
                f"merge {merge!r} needs area_channels that add up to {channels} channels, "
                f"got {area_channels}"
            )
        if merge == "gate" and len(area_channels) < 2:
            raise ValueError("merge 'gate' needs two areas or more: give the session's in `areas`")
        kernels, period = [kernel * 2**block for block in range(blocks)], 2**blocks
        reach = layer_buffers(kernels)[0].receptive_field
        padding = sum(2**block * (size // 2) for block, size in enumerate(kernels))
        centred = reach - 1 - padding
        ahead = centred if lookahead is None else lookahead
        if not 0 <= ahead <= centred:
            raise ValueError(
                f"lookahead is {ahead}: expected 0 to {centred} steps, where kernels are centred"
            )
        super().__init__(
            channels=channels,
            timing=Timing(
                lookahead=ahead + period - 1,
                update_period=period,
                receptive_field=reach,
                latency_steps=ahead + 1,
            ),
        )
        self.kernels = kernels
        self.silence = centred + period - 1
        """Steps without velocity before the first keypoint is due."""
        self.area_channels = [channels] if merge == "none" else list(area_channels)
        self.gated, self.channel_dropout = merge == "gate", ChannelDropout(channel_dropout)
        areas = range(len(self.area_channels))
        self.heard = [0, *areas] if self.gated else areas
        """The area of each convolution module."""
        self.convs = nn.ModuleList(
            Chain(
                Block(
                    self.area_channels[area] if block == 0 else conv_channels,
                    conv_channels,
                    size,
                    norm=batch_norm,
                    dropout=dropout,
                    spikes=block == 0,
                )
                for block, size in enumerate(kernels)
            )
            for area in self.heard
        )
        self.frames = Frames(centred, period, reach)
        width, end = conv_channels, conv_channels * len(self.heard)
        self.read = [slice(0, end)]
        """Of all modules' channels, those that each spiking net reads."""
        if merge == "post-LIF":
            self.read = [slice(area * width, (area + 1) * width) for area in areas]
        elif self.gated:
            self.read = [*NETS * [slice(0, width)], *NETS * [slice(width, end)]]
        self.nets = nn.ModuleList(
            Chain(
                RecurrentLIF(
                    read.stop - read.start if layer == 1 else lif_units,
                    lif_units,
                    f"net{net}.lif{layer}",
                    *neuron(tau_mem_ms, period, surrogate, slope),
                )
                for layer in range(1, lif_layers + 1)
            )
            for net, read in enumerate(self.read, start=1)
        )
        self.readout = Linear(lif_units * len(self.read), 2)

    @torch.no_grad()
    def initialise(self, rates_hz: Tensor, generator: torch.Generator) -> None:
        """Frames around zero that fixed-point buffers can hold, and membranes that vary by a
        threshold."""
        blocks = [block for conv in self.convs for block in conv]
        for block in blocks:
            if block.norm is not None:
                block.norm.weight.fill_(FRAME_SPREAD)
                block.norm.bias.fill_(-LARGER_OF_TWO * FRAME_SPREAD)
        spikes = likely_spikes(rates_hz, STEPS, generator).transpose(0, 1)
        areas = spikes.split(self.area_channels, dim=2)
        heard = ((areas[area],) for area in self.heard)
        with _calibration(blocks):
            frames, _ = self._each(self.convs, heard, self.init_state(len(spikes)).blocks)
        frames = _join([x for (x,) in frames]).transpose(0, 1)
        for net, read in zip(self.nets, self.read, strict=True):
            x = frames[..., read]
            for layer in net:
                spread_membranes(layer.input, x, layer.constants.decay, MEMBRANE_SPREAD)
                x, _ = layer(x, None, Formats())

    def init_state(self, batch: int) -> HybridState:
        silence = torch.zeros(self.silence, batch, 2, device=self.readout.weight.device)
        others = len(self.area_channels) - 1
        return HybridState(
            tuple(conv.init_state(batch) for conv in self.convs),
            tuple(net.init_state(batch) for net in self.nets),
            silence[:0],
            silence,
            self.frames.silence(others, batch, silence.device) if self.gated else None,
        )

    def forward(
        self,
        spikes: Tensor,
        state: HybridState | None = None,
        silence: int = 0,
        apart: bool = False,
    ) -> tuple[Tensor, HybridState]:
        """As every decoder's, of the spikes and as many silent steps after them; apart: what each
        of N spiking nets behind a gate predicts for itself, one net after the other, (T, N B, 2).
        """
        spikes = self.channel_dropout(spikes)
        parts = [spikes, spikes.new_zeros(silence, *spikes.shape[1:])]
        state = self.init_state(spikes.shape[1]) if state is None else state
        split = [part.transpose(0, 1).split(self.area_channels, dim=2) for part in parts]
        areas = list(zip(*split, strict=True))
        frames, blocks = self._each(self.convs, [areas[area] for area in self.heard], state.blocks)
        # (n, B, channels) of all modules; one spiking net takes them all, several their parts
        frames = _join([x for (x,) in frames]).transpose(0, 1).contiguous()
        neurons, keypoint, ready, presence = state[1:]
        if self.gated:
            present, presence = self.frames.present(areas[1:], presence)
        if len(frames) > 0:
            parts = [frames[..., read] for read in self.read]
            hidden, neurons = self._each(self.nets, parts, neurons)
            if apart:
                found = self._apart(hidden)
                keypoint, ready = (each.repeat(1, len(self.nets), 1) for each in (keypoint, ready))
            else:
                if self.gated:
                    opened = present.all(0).T[..., None]
                    gates = *repeat(~opened, NETS), *repeat(opened, NETS)
                    hidden = [each * gate for each, gate in zip(hidden, gates, strict=True)]
                found = self.readout(_join(hidden))
            keypoints = torch.cat([keypoint, found])
            # The velocity at an earlier keypoint has been emitted already.
            velocity = interpolate(keypoints, self.timing.update_period)[len(keypoint) :]
            keypoint, ready = keypoints[-1:], torch.cat([ready, velocity])
        due = len(spikes) + silence
        return ready[:due], HybridState(blocks, neurons, keypoint, ready[due:], presence)

    def _apart(self, hidden: Sequence[Tensor]) -> Tensor:
        """Keypoints (n, N B, 2) by each of N nets with spikes (n, B, units), one net after the
        other. The read-out has its share of a mean of NETS predictions."""
        weights = self.readout.weight.chunk(len(hidden), dim=1)
        shares = [spikes @ weight.T for spikes, weight in zip(hidden, weights, strict=True)]
        return NETS * torch.cat(shares, dim=1) + self.readout.bias

    def decode_standardised(self, spikes: Tensor) -> Tensor:
        velocity, _ = self(spikes, silence=self.timing.lookahead)  # copies no spikes
        return velocity[self.timing.lookahead :]

    def training_pairs(self, spikes: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.gated and self.training):
            return super().training_pairs(spikes, velocity)
        decoded, _ = self(spikes, silence=self.timing.lookahead, apart=True)
        return decoded[self.timing.lookahead :], velocity.repeat(1, len(self.nets), 1)

    def _each(self, chains: Iterable[Chain], inputs: Iterable[Any], states: Iterable[Any]):
        """Outputs and new states of several chains."""
        found = zip(chains, inputs, states, strict=True)
        return zip(*(chain(x, begun, self.formats) for chain, x, begun in found), strict=True)

    def standardised_streamer(self, state: HybridState | None = None) -> streams.Stream:
        state = self.init_state(1) if state is None else state
        areas = [slice(*ends) for ends in pairwise(accumulate(self.area_channels, initial=0))]
        convs = map(Chain.streamer, self.convs, state.blocks, repeat(self.formats))
        convs = list(zip(convs, [areas[area] for area in self.heard], strict=True))
        nets = list(map(Chain.streamer, self.nets, state.neurons, repeat(self.formats)))
        keypoints = streams.Keypoints(
            self.readout, self.timing.update_period, state.keypoint, state.ready
        )

        present = self.frames.stream(areas[1:], state.presence) if self.gated else None

        def step(spikes: np.ndarray) -> np.ndarray:
            frames = [conv(spikes[area]) for conv, area in convs]
            opened = present(spikes) if self.gated else True
            if frames[0] is not None:  # the areas' frames are complete at the same steps
                joined = np.concatenate(frames)
                fired = [net(joined[read]) for net, read in zip(nets, self.read, strict=True)]
                if self.gated:
                    gates = *repeat(not opened, NETS), *repeat(opened, NETS)
                    fired = [each * gate for each, gate in zip(fired, gates, strict=True)]
                keypoints.add(np.concatenate(fired))
            return keypoints.ready.popleft()

        return step

    def stages(self) -> list[stages.Stage]:
        if self.gated:
            raise stages.NoStagesError(
                "Hybrid cannot be exported with merge gate: no stage chooses between decoders; "
                "export one with merge none, pre-LIF or post-LIF"
            )
        convs = [
            tuple(
                block.stage(f"convs.{area}.{number}", self.formats)
                for number, block in enumerate(conv)
            )
            for area, conv in enumerate(self.convs)
        ]
        nets = [tuple(layer.stage(self.formats) for layer in net) for net in self.nets]
        rest = [stages.linear("readout", self.readout), stages.Keypoints(self.timing.update_period)]
        if len(convs) == 1:
            return [*convs[0], *nets[0], *rest]
        areas = tuple(self.area_channels)
        if len(nets) == 1:
            return [stages.Parallel(areas, tuple(convs)), *nets[0], *rest]
        branches = (conv + net for conv, net in zip(convs, nets, strict=True))
        return [stages.Parallel(areas, tuple(branches)), *rest]

    def fold(self) -> None:
        for conv in self.convs:
            for block in conv:
                block.fold()
        super().fold()

    def buffer_sizes(self) -> list[BufferSize]:
        """Column (c) of :func:`~spikereach.models.buffers.layer_buffers`, and the membranes.

        The last spikes follow from the membranes. Keypoints and velocities are output, held by
        the receiver.
        """
        width = self.convs[0][0].conv.out_channels * len(self.convs)
        spikes, *layers = layer_buffers(self.kernels)
        sizes = [BufferSize("input", spikes.needed * self.channels, "input")]
        sizes += [BufferSize(row.layer, row.needed * width, "buffer") for row in layers]
        layers = (layer for net in self.nets for layer in net)
        sizes += [BufferSize(layer.name, layer.units, "state") for layer in layers]
        if self.gated:
            others = len(self.area_channels) - 1
            sizes.append(BufferSize("steps since a spike", others, "state"))
        return sizes


@contextmanager
def _calibration(blocks: Sequence[Block]) -> Iterator[None]:
    """Within, blocks normalise by the batch without dropout; its statistics stay with them."""
    settings = [(block, block.dropout, block.training) for block in blocks]
    norms = [(block.norm, block.norm.momentum) for block in blocks if block.norm is not None]
    for block in blocks:
        block.dropout = 0.0
        block.train()
    for norm, _ in norms:
        norm.momentum = 1.0
    try:
        yield
    finally:
        for block, dropout, training in settings:
            block.dropout = dropout
            block.train(training)
        for norm, momentum in norms:
            norm.momentum = momentum


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Along the last axis; a single part as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
