"""Small stand-in decoders, one per kind of layer, to test the evaluation with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.ops.common.backends import may_compile
from spikereach.ops.common.record import note_call, note_spikes
from spikereach.ops.common.spikes import Spikes


class Fire(Spikes):
    """Spikes where the input reaches 1."""

    def forward(self, potential: Tensor) -> Tensor:
        return (potential >= 1).float()


class Straight(Decoder):
    """Linear -> ReLU -> Linear, one call for all steps."""

    def __init__(self, *, channels: int, hidden: int = 8):
        super().__init__(channels=channels)
        self.first = nn.Linear(channels, hidden)
        self.relu = nn.ReLU()
        self.second = nn.Linear(hidden, 2)

    def forward(self, spikes, state=None):
        hidden = self.relu(self.first(spikes))
        return self.second(hidden), None

    def buffer_sizes(self):
        return [BufferSize("first", self.channels, "input")]


class LIFState(NamedTuple):
    potential: Tensor
    spikes: Tensor


class Recurrent(Decoder):
    """Recurrent leaky integrate-and-fire units, called step by step or at once."""

    def __init__(self, *, channels: int, hidden: int = 8):
        super().__init__(channels=channels)
        self.input = nn.Linear(channels, hidden, bias=False)
        self.recurrent = nn.Linear(hidden, hidden, bias=False)
        self.fire = Fire()
        self.readout = nn.Linear(hidden, 2, bias=False)

    def init_state(self, batch):
        zeros = self.input.weight.new_zeros(batch, self.recurrent.in_features)
        return LIFState(zeros, zeros)

    def forward(self, spikes, state=None):
        potential, fired = state or self.init_state(spikes.shape[1])
        current, fused = self.input(spikes), may_compile(spikes)
        before, after = [], []
        for x in current:
            before.append(fired)
            recurrent = fired @ self.recurrent.weight.T if fused else self.recurrent(fired)
            potential = 0.9 * potential * (1 - fired) + x + recurrent
            fired = self.fire(potential)
            after.append(fired)
        hidden = torch.stack(after)
        if fused:
            note_call(self.recurrent, torch.stack(before))
        note_spikes("hidden", hidden)
        return self.readout(hidden), LIFState(potential, fired)

    def buffer_sizes(self):
        hidden = self.recurrent.in_features
        return [
            BufferSize("input", self.channels, "input"),
            BufferSize("recurrent", hidden, "buffer"),
            BufferSize("recurrent", 2 * hidden, "state"),
        ]


class Gated(Decoder):
    """A GRU cell, called once per step."""

    def __init__(self, *, channels: int, hidden: int = 8):
        super().__init__(channels=channels)
        self.cell = nn.GRUCell(channels, hidden)
        self.readout = nn.Linear(hidden, 2)

    def init_state(self, batch):
        return self.cell.weight_hh.new_zeros(batch, self.cell.hidden_size)

    def forward(self, spikes, state=None):
        hidden = self.init_state(spikes.shape[1]) if state is None else state
        states = [hidden]
        for x in spikes:
            states.append(self.cell(x, states[-1]))
        outputs = torch.stack(states[1:])
        return self.readout(outputs), states[-1]

    def buffer_sizes(self):
        return [BufferSize("cell", self.cell.hidden_size, "state")]


class Centred(Decoder):
    """A centred convolution: the output of a step needs half a kernel of future."""

    def __init__(self, *, channels: int, kernel: int = 9, declared: int | None = None):
        super().__init__(
            channels=channels,
            timing=Timing(
                lookahead=kernel // 2 if declared is None else declared,
                receptive_field=kernel,
                latency_steps=kernel // 2 + 1,
            ),
        )
        self.conv = nn.Conv1d(channels, 6, kernel)
        self.relu = nn.ReLU()
        self.readout = nn.Linear(6, 2)

    def init_state(self, batch):
        return self.conv.weight.new_zeros(self.conv.kernel_size[0] - 1, batch, self.channels)

    def forward(self, spikes, state=None):
        past = self.init_state(spikes.shape[1]) if state is None else state
        stream = torch.cat([past, spikes])
        frames = stream.permute(1, 2, 0)
        hidden = self.relu(self.conv(frames)).permute(2, 0, 1)
        return self.readout(hidden), stream[len(spikes) :]

    def buffer_sizes(self):
        return [BufferSize("conv", self.channels * (self.timing.receptive_field - 1), "input")]


class Peeking(Centred):
    """Pads within each call instead of waiting: reads the future and says it does not."""

    def __init__(self, *, channels: int, kernel: int = 9):
        super().__init__(channels=channels, kernel=kernel, declared=0)

    def forward(self, spikes, state=None):
        reach = self.timing.receptive_field // 2
        frames = nn.functional.pad(spikes.permute(1, 2, 0), (reach, reach))
        hidden = self.relu(self.conv(frames)).permute(2, 0, 1)
        return self.readout(hidden), None


class Windowed(Decoder):
    """A padded, strided convolution over whole windows; outputs come a window later."""

    window = 16

    def __init__(self, *, channels: int):
        timing = Timing(lookahead=15, update_period=16, whole_windows=16)
        super().__init__(channels=channels, timing=timing)
        self.conv = nn.Conv1d(channels, 5, 4, padding=2, stride=2)
        self.readout = nn.Linear(5, 2)

    def init_state(self, batch):
        zeros = self.conv.weight.new_zeros
        return zeros(0, batch, self.channels), zeros(self.window - 1, batch, 2)

    def forward(self, spikes, state=None):
        begun, ready = self.init_state(spikes.shape[1]) if state is None else state
        stream = torch.cat([begun, spikes])
        batch = spikes.shape[1]
        whole = len(stream) // self.window
        if whole:
            windows = stream[: whole * self.window].unflatten(0, (whole, -1))
            frames = windows.permute(0, 2, 3, 1).flatten(0, 1)
            hidden = self.conv(frames)
            keypoints = hidden[..., : self.window // 2].transpose(1, 2)
            velocity = self.readout(keypoints).repeat_interleave(2, dim=1)
            velocity = velocity.unflatten(0, (whole, batch)).transpose(1, 2).flatten(0, 1)
            ready = torch.cat([ready, velocity])
        state = stream[whole * self.window :], ready[len(spikes) :]
        return ready[: len(spikes)], state

    def buffer_sizes(self):
        return [BufferSize("window", self.channels * self.window, "input")]
