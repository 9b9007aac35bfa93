"""Windowed hybrid decoders: GRU, sGRU and LIF nets, t1 and t2 (Vasilache et al. 2024)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.models.initial import likely_spikes, spread_membranes
from spikereach.models.keypoints import interpolate
from spikereach.models.layers import Conv1d, Linear
from spikereach.models.recurrent_lif import RecurrentLIF, neuron, stored_constants
from spikereach.ops.common.backends import may_compile
from spikereach.ops.common.precision import precise
from spikereach.ops.common.record import note_call, note_spikes
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.conv_pool import conv_pool
from spikereach.ops.gru import scan_gru
from spikereach.ops.spiking_gru import GRULayers, scan_spiking_gru


class WindowState(NamedTuple):
    """All that a stream carries over."""

    window: Tensor
    """(n, B, C): the window under way"""
    ready: Tensor
    """(n, B, 2): velocities not yet due; at first ``lookahead`` of silence"""
    hidden: Tensor | None
    """(B, hidden): of a GRU after the last window; None before the first, and in other nets"""


class Windowed(Decoder):
    r"""Base of the family: whole windows through convolutions, recurrent layer and read-outs.

    A window of ``W`` steps passes blocks of zero-padded Conv1d, MaxPool(2, 2) and dropout, which
    leave :math:`W / 2^n + 1` frames. A recurrent layer runs over the frames; dropout and two
    linear read-outs, one for x and one for y, give one keypoint per frame. Keypoint ``k`` lies
    just before step :math:`2^n k`, so that the velocity of step :math:`2^n k + j - 1` is that
    keypoint plus :math:`j / 2^n` of the difference to the next, :math:`j = 1 \ldots 2^n`: the
    first keypoint is no step's velocity, the last one is the last step's.

    Nothing is computed before the window is complete, so that its first velocity comes
    ``W - 1`` steps late, and all others with it. Windows complete within one call are a batch to
    the convolutions, and follow each other in the recurrent layer of a GRU.

    Read-outs start at N(0, 0.1), weights and biases. Subclasses add the recurrent layer and
    define :meth:`recur`.

    Args:
        channels: input channels C.
        window: steps per window, W.
        conv_channels: channels of every convolution.
        kernels: kernel of each block.
        paddings: zeros on either side, of each block.
        hidden: size of the recurrent layer.
        dropout: probability of dropping an output of a pool or of the recurrent layer (after
            its layer norm), in training.

    Raises:
        ValueError: kernels and paddings that do not leave the frames that interpolation needs.
    """

    takes_bytes = True
    #: whether the recurrent layer goes on from window to window
    carries_hidden = True

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
                receptive_field=None if self.carries_hidden else window,
                latency_steps=window,
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
        for readout in (self.readout_x, self.readout_y):
            nn.init.normal_(readout.weight, std=0.1)
            nn.init.normal_(readout.bias, std=0.1)

    def forward(
        self, spikes: Tensor, state: WindowState | None = None
    ) -> tuple[Tensor, WindowState]:
        steps, batch = spikes.shape[:2]
        if state is None:
            silence = torch.zeros(self.timing.lookahead, batch, 2, device=spikes.device)
            state = WindowState(spikes[:0], silence, None)
        collected = torch.cat([state.window, spikes]) if len(state.window) else spikes
        windows = len(collected) // self.window
        used = windows * self.window
        ready, hidden = state.ready, state.hidden
        if windows:
            x = collected[:used].unflatten(0, (windows, self.window))
            frames = self._convolve(x.transpose(1, 2).flatten(0, 1))
            frames = frames.unflatten(0, (windows, batch)).permute(0, 3, 1, 2)
            outputs, hidden = self.recur(frames, hidden)
            outputs = self.dropout(outputs).flatten(0, 1)
            keypoints = torch.cat([self.readout_x(outputs), self.readout_y(outputs)], dim=2)
            keypoints = keypoints.unflatten(0, (windows, -1)).transpose(0, 1)
            velocity = interpolate(keypoints, self.period)[1:].transpose(0, 1)
            ready = torch.cat([ready, velocity.flatten(0, 1)])
        return ready[:steps], WindowState(collected[used:], ready[steps:], hidden)

    def _convolve(self, spikes: Tensor) -> Tensor:
        """Frames (N, conv_channels, K) of N windows of spikes (N, W, C)."""
        first, *others = self.convs
        x = spikes.transpose(1, 2)
        if not self.training and may_compile(x):
            note_call(first, x[None])
            silence = spikes.new_zeros(len(spikes), *first.padding, self.channels)
            parts, weights = [silence, spikes, silence], (first.weight.float(), first.bias.float())
            pooled = conv_pool(parts, *weights, None, events=True)
            x = self.buffer(pooled.frames.transpose(1, 2))  # rounding commutes with the maximum
        else:
            x = self.dropout(self.pool(self.buffer(first(x.float()))))
        for conv in others:
            x = self.dropout(self.pool(self.buffer(conv(x))))
        return x

    def recur(self, frames: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The recurrent layer over n windows of B streams.

        Args:
            frames: (n, K, B, conv_channels).
            hidden: as in :class:`WindowState`.
        Returns:
            its outputs (n, K, B, hidden), and the hidden state after them.
        """
        raise NotImplementedError

    def initial_hidden(self, frames: Tensor) -> Tensor:
        """Hidden state (B, hidden) of a GRU at the start of B streams, standard normal, of the
        frames' type.

        Training draws it anew each time. In evaluation stream ``b`` always begins with the same
        draw, whatever the others are, so that its output is a function of its input.
        """
        shape = frames.shape[-2], self.hidden
        if self.training:
            return torch.randn(shape, device=frames.device).to(frames)
        drawn = np.random.default_rng(0).standard_normal(shape, np.float32)
        return torch.from_numpy(drawn).to(frames)

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

    def recur(self, frames: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        shape = frames.shape[:2]
        frames = frames.flatten(0, 1).to(self.cell.weight_ih.dtype)
        hidden = self.initial_hidden(frames) if hidden is None else hidden
        states = scan_gru(frames, self.cell, hidden, buffer_format=self.buffer_format)
        return self.layer_norm(states).unflatten(0, shape), states[-1]


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

    @torch.no_grad()
    def _start(
        self, layer: Linear, spread: float, rates_hz: Tensor, generator: torch.Generator
    ) -> None:
        """Frames around zero, and a layer's membranes with a root mean square of ``spread``."""
        self.eval()
        spikes = likely_spikes(rates_hz, self.window, generator)
        frames = self._convolve(spikes.transpose(0, 1)).permute(2, 0, 1)
        mean = frames.mean((0, 1))
        self.convs[-1].bias.sub_(mean)  # the maximum of a pool shifts along
        spread_membranes(layer, frames - mean, self.constants.decay, spread)


class SGRU(Spiking):
    r"""sGRU-t1 and sGRU-t2: every non-linearity of the GRU is a layer of LIF neurons.

    .. math:: r = \mathrm{LIF}(W_r x + U_r h), \quad z = \mathrm{LIF}(W_z x + U_z h), \quad
              n = \mathrm{LIF}(W_n x + U_n ((1 - r) h)), \quad h \leftarrow (1 - z) h + z n

    without biases. The hidden state h goes on from window to window, the neurons are silent before
    each.

    Args:
        sizes: as :class:`Spiking`.
    """

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.input = Linear(self.features, 3 * self.hidden, bias=False)
        self.recurrent_gates = Linear(self.hidden, 2 * self.hidden, bias=False)
        self.recurrent_candidate = Linear(self.hidden, self.hidden, bias=False)
        self.spikes = Spikes()

    def initialise(self, rates_hz: Tensor, generator: torch.Generator) -> None:
        """Gates that spike in some frames: with silent ones the first state stays for ever."""
        self._start(self.input, 1.5, rates_hz, generator)

    def recur(self, frames: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        layers = GRULayers(self.recurrent_gates, self.recurrent_candidate, self.spikes)
        rules = {"surrogate": self.surrogate, "buffer_format": self.buffer_format}
        constants = stored_constants(self.constants, self.formats)
        currents = self.input(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        hidden = self.initial_hidden(precise(frames[:1])) if hidden is None else hidden
        outputs, spikes = [], []
        for current in currents:
            states, fired = scan_spiking_gru(current, layers, constants, hidden, **rules)
            hidden = states[-1]
            outputs.append(states)
            spikes.append(fired)
        note_spikes("gates", torch.cat(spikes))
        return torch.stack(outputs), hidden

    def buffer_sizes(self) -> list[BufferSize]:
        return [*super().buffer_sizes(), BufferSize("membranes", 3 * self.hidden, "state")]


class LIF(Spiking):
    """LIF-t1 and LIF-t2: one recurrent layer of LIF neurons, silent before each window.

    Args:
        sizes: as :class:`Spiking`.
    """

    carries_hidden = False

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.lif = RecurrentLIF(self.features, self.hidden, "lif", self.constants, self.surrogate)

    def initialise(self, rates_hz: Tensor, generator: torch.Generator) -> None:
        """Membranes that fluctuate by half the threshold, as those of the RSNNs."""
        self._start(self.lif.input, 0.5, rates_hz, generator)

    def recur(self, frames: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        windows, _, streams, _ = frames.shape
        spikes, _ = self.lif(frames.transpose(0, 1).flatten(1, 2), None, self.formats)
        return spikes.unflatten(1, (windows, streams)).transpose(0, 1), None
