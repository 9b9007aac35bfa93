"""Windowed hybrid decoders: GRU, sGRU and LIF nets, t1 and t2 (Vasilache et al. 2024)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.models.keypoints import interpolate
from spikereach.models.layers import Conv1d, Linear
from spikereach.models.recurrent_lif import RecurrentLIF, neuron
from spikereach.ops.common.backends import may_compile
from spikereach.ops.common.record import note_call, note_spikes
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.threads import few_elements
from spikereach.ops.conv_pool import conv_pool
from spikereach.ops.spiking_gru import GRULayers, scan_spiking_gru


class WindowState(NamedTuple):
    """All that a stream carries over."""

    window: Tensor
    """(n, B, C): the window under way"""
    ready: Tensor
    """(n, B, 2): velocities not yet due; at first ``lookahead`` of silence"""


class Windowed(Decoder):
    r"""Base of the family: whole windows through convolutions, recurrent layer and read-outs.

    A window of ``W`` steps passes blocks of zero-padded Conv1d and MaxPool(2, 2), which leave
    :math:`W / 2^n + 1` frames. A recurrent layer runs over the frames of the window, anew for
    each window; dropout and two linear read-outs, one for x and one for y, give one keypoint
    per frame. Keypoint ``j`` is the velocity of step :math:`2^n j`; those between are
    interpolated linearly, and the last keypoint lies just after the window.

    Nothing is computed before the window is complete, so that its first velocity comes
    ``W - 1`` steps late, and all others with it. Windows complete within one call are a batch.

    Subclasses add the recurrent layer and define :meth:`recur`.

    Args:
        channels: input channels C.
        window: steps per window, W.
        conv_channels: channels of every convolution.
        kernels: kernel of each block.
        paddings: zeros on either side, of each block.
        hidden: size of the recurrent layer.
        dropout: probability of dropping an output of the recurrent layer in training.

    Raises:
        ValueError: kernels and paddings that do not leave the frames that interpolation needs.
    """

    takes_bytes = True

    def __init__(
        self,
        *,
        channels: int,
        window: int,
        conv_channels: int,
        kernels: Sequence[int],
        paddings: Sequence[int],
        hidden: int,
        dropout: float,
    ):
        super().__init__(
            channels=channels,
            timing=Timing(
                lookahead=window - 1,
                update_period=window,
                receptive_field=window,
                whole_windows=window,
            ),
        )
        if len(kernels) != len(paddings):
            raise ValueError(f"{len(kernels)} kernels but {len(paddings)} paddings")
        self.period = 2 ** len(kernels)
        frames = window
        for kernel, padding in zip(kernels, paddings, strict=True):
            frames = (frames + 2 * padding - kernel + 1) // 2
        if window % self.period or frames != window // self.period + 1:
            raise ValueError(
                f"kernels {list(kernels)} with paddings {list(paddings)} make {frames} frames of "
                f"a window of {window}; interpolation needs {window / self.period:g} + 1"
            )
        self.window, self.features, self.hidden = window, conv_channels, hidden
        inputs = channels, *[conv_channels] * (len(kernels) - 1)
        self.convs = nn.ModuleList(
            Conv1d(before, conv_channels, kernel, padding)
            for before, kernel, padding in zip(inputs, kernels, paddings, strict=True)
        )
        self.pool = nn.MaxPool1d(2)
        self.dropout = nn.Dropout(dropout)
        self.readout_x = Linear(hidden, 1)
        self.readout_y = Linear(hidden, 1)

    def forward(
        self, spikes: Tensor, state: WindowState | None = None
    ) -> tuple[Tensor, WindowState]:
        steps, batch = spikes.shape[:2]
        if state is None:
            silence = torch.zeros(self.timing.lookahead, batch, 2, device=spikes.device)
            state = WindowState(spikes[:0], silence)
        collected = torch.cat([state.window, spikes]) if len(state.window) else spikes
        windows = len(collected) // self.window
        used = windows * self.window
        ready = state.ready
        if windows:
            x = collected[:used].unflatten(0, (windows, self.window))
            velocity = self._decode_windows(x.transpose(1, 2).flatten(0, 1))
            velocity = velocity.unflatten(1, (windows, batch)).transpose(0, 1).flatten(0, 1)
            ready = torch.cat([ready, velocity])
        return ready[:steps], WindowState(collected[used:], ready[steps:])

    def _decode_windows(self, spikes: Tensor) -> Tensor:
        """Velocity (W, N, 2) of N windows of spikes (N, W, C)."""
        first, *others = self.convs
        x = spikes.transpose(1, 2)
        if not self.training and may_compile(x):
            note_call(first, x[None])
            silence = spikes.new_zeros(len(spikes), *first.padding, self.channels)
            parts, weights = [silence, spikes, silence], (first.weight.float(), first.bias.float())
            pooled = conv_pool(parts, *weights, None, events=True)
            x = self.buffer(pooled.frames.transpose(1, 2))  # rounding commutes with the maximum
        else:
            x = self.pool(self.buffer(first(x.float())))
        for conv in others:
            x = self.pool(self.buffer(conv(x)))
        hidden = self.dropout(self.recur(x.permute(2, 0, 1)))
        keypoints = torch.cat([self.readout_x(hidden), self.readout_y(hidden)], dim=2)
        return interpolate(keypoints, self.period)[:-1]

    def recur(self, frames: Tensor) -> Tensor:
        """Outputs (K, N, hidden) of the recurrent layer for frames (K, N, conv_channels)."""
        raise NotImplementedError

    def initial_hidden(self, windows: int, like: Tensor) -> Tensor:
        """Hidden state (N, hidden) of a GRU before a window, uniform in (-1, 1).

        Training draws it anew for every window; evaluation takes the same draw for all, so
        that its output is a function of the input.
        """
        if self.training:
            return torch.rand(windows, self.hidden, device=like.device).to(like) * 2 - 1
        drawn = torch.rand(self.hidden, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return drawn.to(like).expand(windows, -1)

    def buffer_sizes(self) -> list[BufferSize]:
        return [
            # The published footprint counts one byte per bin.
            BufferSize("window", self.window * self.channels, "input", input_bits=8),
            BufferSize("hidden", self.hidden, "state"),
        ]


class GRU(Windowed):
    """GRU-t1 and GRU-t2: ``nn.GRUCell``, then LayerNorm.

    Args:
        layer_norm: normalise the cell's outputs (published sizes: GRU-t2 with, GRU-t1 without).
        sizes: as :class:`Windowed`.
    """

    def __init__(self, *, layer_norm: bool = True, **sizes):
        super().__init__(**sizes)
        self.cell = nn.GRUCell(self.features, self.hidden)
        self.layer_norm = nn.LayerNorm(self.hidden) if layer_norm else nn.Identity()

    def recur(self, frames: Tensor) -> Tensor:
        frames = frames.to(self.cell.weight_ih.dtype)
        states, hooked = [self.initial_hidden(frames.shape[1], frames)], not may_compile(frames)
        step = self.cell if hooked else self.cell.forward  # hooks take a fifth of the time
        with few_elements(3 * states[0].numel()):
            for frame in frames:
                states.append(self.buffer(step(frame, states[-1])))
        states = torch.stack(states)
        if not hooked:
            note_call(self.cell, frames, states[:-1])
        return self.layer_norm(states[1:])


class Spiking(Windowed):
    """Base of those whose recurrent layer is of the neurons of :class:`RecurrentLIF`.

    Args:
        tau_mem_ms: membrane time constant.
        surrogate: ``fast_sigmoid``, ``triangle`` or ``arctan``.
        slope: the surrogate's slope (of the triangle: its peak).
        sizes: as :class:`Windowed`.
    """

    def __init__(
        self,
        *,
        tau_mem_ms: float = 150.0,
        surrogate: str = "fast_sigmoid",
        slope: float = 5.0,
        **sizes,
    ):
        super().__init__(**sizes)
        self.constants, self.surrogate = neuron(tau_mem_ms, self.period, surrogate, slope)


class SGRU(Spiking):
    r"""sGRU-t1 and sGRU-t2: every non-linearity of the GRU is a layer of LIF neurons.

    .. math:: r = \mathrm{LIF}(W_r x + U_r h), \quad z = \mathrm{LIF}(W_z x + U_z h), \quad
              n = \mathrm{LIF}(W_n x + U_n ((1 - r) h)), \quad h \leftarrow (1 - z) h + z n

    without biases.

    Args:
        sizes: as :class:`Spiking`.
    """

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.input = Linear(self.features, 3 * self.hidden, bias=False)
        self.recurrent_gates = Linear(self.hidden, 2 * self.hidden, bias=False)
        self.recurrent_candidate = Linear(self.hidden, self.hidden, bias=False)
        self.spikes = Spikes()

    def recur(self, frames: Tensor) -> Tensor:
        first = self.initial_hidden(frames.shape[1], frames)
        layers = GRULayers(self.recurrent_gates, self.recurrent_candidate, self.spikes)
        rules = {"surrogate": self.surrogate, "buffer_format": self.buffer_format}
        currents = self.input(frames)
        hidden, spikes = scan_spiking_gru(currents, layers, self.constants, first, **rules)
        note_spikes("gates", spikes)
        return hidden

    def buffer_sizes(self) -> list[BufferSize]:
        return [*super().buffer_sizes(), BufferSize("membranes", 3 * self.hidden, "state")]


class LIF(Spiking):
    """LIF-t1 and LIF-t2: one recurrent layer of LIF neurons, silent before each window.

    Args:
        sizes: as :class:`Spiking`.
    """

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.lif = RecurrentLIF(self.features, self.hidden, "lif", self.constants, self.surrogate)

    def recur(self, frames: Tensor) -> Tensor:
        return self.lif(frames, None, self.buffer_format)[0]
