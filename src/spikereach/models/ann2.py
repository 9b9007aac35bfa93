"""NeuroBench's ANN2 (Yik et al. 2025): counts of the last 200 ms through a small network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikereach.models.counts import Counts, CountState
from spikereach.models.decoder import BufferSize, Decoder, LayerCalls, Trace


class ANN2(Decoder):
    """Counts -> linear -> ReLU -> batch norm -> linear -> dropout -> ReLU -> batch norm -> linear.

    Until the window is full the output is zero and no layer is computed, as in the original.

    Args:
        channels: input channels.
        hidden: units of the two hidden layers.
        window: steps counted.
        dropout: probability, in front of the second ReLU.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: tuple[int, int] = (32, 48),
        window: int = 50,
        dropout: float = 0.5,
    ):
        super().__init__(channels=channels)
        self._build(Counts(window=window, bins=1, width=window), hidden, dropout)
        self.silent_steps = window - 1

    def _build(self, counts: Counts, hidden: tuple[int, int], dropout: float) -> None:
        self.counts = counts
        self.receptive_field = self.latency_steps = counts.window
        first, second = hidden
        self.fc1 = nn.Linear(self.channels * counts.bins, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, 2)
        self.dropout = nn.Dropout(dropout)
        self.batchnorm1 = nn.BatchNorm1d(first)
        self.batchnorm2 = nn.BatchNorm1d(second)
        self.activation = nn.ReLU()
        # A row of the original's buffer, which its published footprint counts.
        self.register_buffer("data_buffer", torch.zeros(1, self.channels), persistent=False)

    def init_state(self, batch: int) -> CountState:
        return self.counts.init_state(batch, self.channels, self.fc1.weight)

    def _layers(self, x: Tensor) -> tuple[Tensor, ...]:
        """Every layer's output for counts (samples, features)."""
        h1 = self.activation(self.fc1(x))
        n1 = self.batchnorm1(h1)
        h2 = self.activation(self.dropout(self.fc2(n1)))
        n2 = self.batchnorm2(h2)
        return h1, n1, h2, n2, self.fc3(n2)

    def forward(
        self, spikes: Tensor, state: CountState | None = None, *, trace: Trace | None = None
    ) -> tuple[Tensor, CountState]:
        steps, batch, _ = spikes.shape
        state = self.init_state(batch) if state is None else state
        silent = min(steps, max(0, self.silent_steps - state.seen))
        counts, state = self.counts(spikes.to(self.fc1.weight.dtype), state)
        velocity = spikes.new_zeros(silent, batch, 2)
        if silent == steps:
            return velocity, state
        # Channel-major features: all bins of the first channel, then of the second.
        x = counts[silent:].permute(0, 2, 3, 1).flatten(2)
        if self.stepwise:
            outputs = [torch.stack(o) for o in zip(*map(self._layers, x), strict=True)]
        else:
            outputs = [o.unflatten(0, x.shape[:2]) for o in self._layers(x.flatten(0, 1))]
        h1, n1, h2, n2, decoded = outputs
        if trace is not None:
            trace.activations += [h1, h2]
            trace.calls += [
                LayerCalls(self.fc1, (x,)),
                LayerCalls(self.fc2, (n1,)),
                LayerCalls(self.fc3, (n2,)),
            ]
        return torch.cat([velocity, decoded.to(spikes.dtype)]), state

    def buffer_sizes(self) -> list[BufferSize]:
        return [BufferSize("input", self.counts.window * self.channels, "input")]
