"""Small stand-in decoders, one per kind of layer, to test the evaluation with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikereach.models.decoder import BufferSize, Decoder, LayerCalls, Trace


def note(trace: Trace | None, layer: nn.Module, *inputs: Tensor) -> None:
    """Record calls where a trace is asked for."""
    if trace is not None:
        trace.calls.append(LayerCalls(layer, inputs))


class Fire(nn.Module):
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

    def forward(self, spikes, state=None, *, trace=None):
        hidden = self.relu(self.first(spikes))
        note(trace, self.first, spikes[None])
        note(trace, self.second, hidden[None])
        if trace is not None:
            trace.activations.append(hidden)
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

    def activation_modules(self):
        return (Fire,)

    def init_state(self, batch):
        zeros = self.input.weight.new_zeros(batch, self.recurrent.in_features)
        return LIFState(zeros, zeros)

    def forward(self, spikes, state=None, *, trace=None):
        potential, fired = state or self.init_state(spikes.shape[1])
        current = self.input(spikes)
        before, after = [], []
        for x in current:
            before.append(fired)
            recurrent = self.recurrent(fired) if self.stepwise else fired @ self.recurrent.weight.T
            potential = 0.9 * potential * (1 - fired) + x + recurrent
            fired = self.fire(potential)
            after.append(fired)
        hidden = torch.stack(after)
        note(trace, self.input, spikes[None])
        note(trace, self.recurrent, torch.stack(before))
        note(trace, self.readout, hidden[None])
        if trace is not None:
            trace.spikes["hidden"] = hidden
            trace.activations.append(hidden)
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

    def forward(self, spikes, state=None, *, trace=None):
        hidden = self.init_state(spikes.shape[1]) if state is None else state
        states = [hidden]
        for x in spikes:
            states.append(self.cell(x, states[-1]))
        outputs = torch.stack(states[1:])
        note(trace, self.cell, spikes, torch.stack(states[:-1]))
        note(trace, self.readout, outputs[None])
        return self.readout(outputs), states[-1]

    def buffer_sizes(self):
        return [BufferSize("cell", self.cell.hidden_size, "state")]


class Centred(Decoder):
    """A centred convolution: the output of a step needs half a kernel of future."""

    def __init__(self, *, channels: int, kernel: int = 9, declared: int | None = None):
        super().__init__(channels=channels)
        self.conv = nn.Conv1d(channels, 6, kernel)
        self.relu = nn.ReLU()
        self.readout = nn.Linear(6, 2)
        self.lookahead = kernel // 2 if declared is None else declared
        self.receptive_field = kernel
        self.latency_steps = kernel // 2 + 1

    def init_state(self, batch):
        return self.conv.weight.new_zeros(self.conv.kernel_size[0] - 1, batch, self.channels)

    def forward(self, spikes, state=None, *, trace=None):
        past = self.init_state(spikes.shape[1]) if state is None else state
        stream = torch.cat([past, spikes])
        frames = stream.permute(1, 2, 0)
        hidden = self.relu(self.conv(frames)).permute(2, 0, 1)
        note(trace, self.conv, frames[None])
        note(trace, self.readout, hidden[None])
        if trace is not None:
            trace.activations.append(hidden)
        return self.readout(hidden), stream[len(spikes) :]

    def buffer_sizes(self):
        return [BufferSize("conv", self.channels * (self.receptive_field - 1), "input")]


class Peeking(Centred):
    """Pads within each call instead of waiting: reads the future and says it does not."""

    def __init__(self, *, channels: int, kernel: int = 9):
        super().__init__(channels=channels, kernel=kernel, declared=0)

    def forward(self, spikes, state=None, *, trace=None):
        reach = self.receptive_field // 2
        frames = nn.functional.pad(spikes.permute(1, 2, 0), (reach, reach))
        hidden = self.relu(self.conv(frames)).permute(2, 0, 1)
        return self.readout(hidden), None


class Windowed(Decoder):
    """A padded, strided convolution over whole windows; outputs come a window later."""

    whole_windows = update_period = latency_steps = 16

    def __init__(self, *, channels: int):
        super().__init__(channels=channels)
        self.lookahead = self.whole_windows - 1
        self.conv = nn.Conv1d(channels, 5, 4, padding=2, stride=2)
        self.readout = nn.Linear(5, 2)

    def init_state(self, batch):
        zeros = self.conv.weight.new_zeros
        return zeros(0, batch, self.channels), zeros(self.lookahead, batch, 2)

    def forward(self, spikes, state=None, *, trace=None):
        begun, ready = self.init_state(spikes.shape[1]) if state is None else state
        stream = torch.cat([begun, spikes])
        batch = spikes.shape[1]
        whole = len(stream) // self.whole_windows
        if whole:
            windows = stream[: whole * self.whole_windows].unflatten(0, (whole, -1))
            frames = windows.permute(0, 2, 3, 1).flatten(0, 1)
            hidden = self.conv(frames)
            keypoints = hidden[..., : self.whole_windows // 2].transpose(1, 2)
            note(trace, self.conv, frames[None])
            note(trace, self.readout, keypoints[None])
            velocity = self.readout(keypoints).repeat_interleave(2, dim=1)
            velocity = velocity.unflatten(0, (whole, batch)).transpose(1, 2).flatten(0, 1)
            ready = torch.cat([ready, velocity])
        state = stream[whole * self.whole_windows :], ready[len(spikes) :]
        return ready[: len(spikes)], state

    def buffer_sizes(self):
        return [BufferSize("window", self.channels * self.whole_windows, "input")]
