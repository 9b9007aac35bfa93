"""Recurrent nets on spike counts, as one would use them without spikes."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.models.keypoints import interpolate
from spikereach.models.layers import Conv1d, Linear
from spikereach.ops.common.fixed_point import Format, stored
from spikereach.ops.common.precision import precise
from spikereach.ops.gru import scan_gru

Cell = Literal["gru", "min_gru"]


class MinGRU(nn.Module):
    r"""Minimal gated unit of Feng et al. 2024, whose gate sees the input alone.

    .. math:: z = \sigma(W_z x + b_z), \quad h \leftarrow (1 - z) h + z (W_h x + b_h)
    """

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.gate = Linear(inputs, hidden)
        self.candidate = Linear(inputs, hidden)

    def forward(self, x: Tensor, hidden: Tensor, buffer_format: Format) -> Tensor:
        """States (K, B, hidden), as stored, after each of the inputs (K, B, inputs)."""
        states, gates = [], precise(self.gate(x)).sigmoid()
        for gate, candidate in zip(gates, precise(self.candidate(x)), strict=True):
            hidden = stored(torch.lerp(hidden, candidate, gate), buffer_format)
            states.append(hidden)
        return torch.stack(states)


class CountedState(NamedTuple):
    """All that a stream carries over."""

    begun: Tensor
    """(n, B, C): the bin under way, n < width"""
    past: tuple[Tensor, ...]
    """(kernel - 1, B, inputs) of each convolution"""
    hidden: Tensor
    """(B, hidden)"""
    keypoint: Tensor
    """(1, B, 2): the latest one"""
    ready: Tensor
    """(width - 1, B, 2): velocities not yet due; at first silence"""


class Counted(Decoder):
    """Counts of ``width`` steps -> causal convolutions, if any -> recurrent cell -> linear.

    Each count gives one keypoint, the velocity of its last step; between keypoints velocity is
    interpolated linearly, from zero before the first one. Each convolution is followed by ReLU and
    dropout, the cell by dropout. Hidden states begin at zero.

    Args:
        channels: input channels.
        width: steps per count.
        hidden: units of the cell.
        cell: ``gru``, or ``min_gru``: :class:`MinGRU`.
        conv_channels: of every convolution.
        kernels: counts that each convolution sees, the latest among them.
        dropout: probability, in training.

    Raises:
        ValueError: an unknown cell, or sizes that do not fit each other.
    """

    def __init__(
        self,
        *,
        channels: int,
        width: int,
        hidden: int,
        cell: Cell = "gru",
        conv_channels: int = 0,
        kernels: Sequence[int] = (),
        dropout: float = 0.0,
    ):
        if cell not in Cell.__args__:
            raise ValueError(f"unknown cell {cell!r}; known: {', '.join(Cell.__args__)}")
        if min(width, hidden, *kernels, conv_channels if kernels else 1) < 1:
            raise ValueError("width, hidden, kernels and their conv_channels must be at least 1")
        super().__init__(
            channels=channels,
            timing=Timing(lookahead=width - 1, update_period=width),
        )
        sizes = [channels, *[conv_channels] * len(kernels)]
        self.width = width
        self.convs = nn.ModuleList(map(Conv1d, sizes, sizes[1:], kernels))
        self.cell = (nn.GRUCell if cell == "gru" else MinGRU)(sizes[-1], hidden)
        self.dropout = nn.Dropout(dropout)
        self.readout = Linear(hidden, 2)

    def init_state(self, batch: int) -> CountedState:
        zeros = torch.zeros(1, batch, 2, device=self.readout.weight.device)
        past = tuple(
            zeros.new_zeros(conv.kernel_size[0] - 1, batch, conv.in_channels) for conv in self.convs
        )
        return CountedState(
            zeros.new_zeros(0, batch, self.channels),
            past,
            zeros.new_zeros(batch, self.readout.in_features),
            zeros,
            zeros.expand(self.width - 1, -1, -1),
        )

    def forward(
        self, spikes: Tensor, state: CountedState | None = None
    ) -> tuple[Tensor, CountedState]:
        state = self.init_state(spikes.shape[1]) if state is None else state
        begun, past, hidden, keypoint, ready = state
        collected = torch.cat([begun, spikes])
        bins = len(collected) // self.width
        counted = bins * self.width
        if bins:
            x = collected[:counted].unflatten(0, (bins, self.width)).sum(1)
            x, past = self._convolve(x, past)
            states = self._recur(x, hidden)
            hidden = states[-1]
            keypoints = torch.cat([keypoint, precise(self.readout(self.dropout(states)))])
            ready = torch.cat([ready, interpolate(keypoints, self.width)[1:]])
            keypoint = keypoints[-1:]
        due = len(spikes)
        return ready[:due], CountedState(collected[counted:], past, hidden, keypoint, ready[due:])

    def _convolve(self, x: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        kept = []
        for conv, before in zip(self.convs, past, strict=True):
            x = torch.cat([before, x])
            kept.append(x[len(x) - len(before) :])
            frames = conv(x.permute(1, 2, 0)).permute(2, 0, 1)
            x = self.dropout(self.buffer(frames.relu()))
        return x, tuple(kept)

    def _recur(self, x: Tensor, hidden: Tensor) -> Tensor:
        if isinstance(self.cell, MinGRU):
            return self.cell(x, hidden, self.buffer_format)
        kind = self.cell.weight_ih.dtype
        states = scan_gru(x.to(kind), self.cell, hidden.to(kind), buffer_format=self.buffer_format)
        return states.to(hidden.dtype)

    def buffer_sizes(self) -> list[BufferSize]:
        sizes = [BufferSize("counts", self.channels, "input", input_bits=8)]
        sizes += [
            BufferSize(f"convs.{number}", (conv.kernel_size[0] - 1) * conv.in_channels, "buffer")
            for number, conv in enumerate(self.convs)
        ]
        return [*sizes, BufferSize("hidden", self.readout.in_features, "state")]
