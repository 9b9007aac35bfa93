"""NeuroBench's SNN3 (Yik et al. 2025): a spiking network run anew for every prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikereach.models.counts import Counts, CountState
from spikereach.models.decoder import BufferSize, Decoder, LayerCalls, Trace
from spikereach.models.leaky import Leaky
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import arctan
from spikereach.ops.lif.step import LIFState, lif_step


class SNN3(Decoder):
    """Counts of ``bins`` bins, layer-normalised, are the inputs of as many steps of a network.

    Linear -> dropout -> LIF -> linear -> LIF -> linear -> leaky integrator; its last membrane,
    scaled by the learned ``v_x`` and ``v_y``, is the velocity. Membranes start at zero for each
    prediction, so all steps of a recording are computed at once.

    Args:
        channels: input channels.
        hidden: units of the two LIF layers.
        window: steps counted.
        bins: counts per channel, and steps of the network.
        beta: initial decay of all membranes per network step; learned, one per layer.
        threshold: initial threshold; learned, one per layer.
        dropout: probability, of the first layer's currents.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: tuple[int, int] = (32, 48),
        window: int = 50,
        bins: int = 7,
        beta: float = 0.5,
        threshold: float = 0.5,
        dropout: float = 0.5,
    ):
        super().__init__(channels=channels)
        self.counts = Counts(window=window, bins=bins, width=window // bins)
        self.receptive_field = self.latency_steps = window
        first, second = hidden
        self.norm_layer = nn.LayerNorm([bins, channels])
        self.fc1 = nn.Linear(channels, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, 2)
        self.lif1 = Leaky(beta=beta, threshold=threshold, reset="subtract", learn=True)
        self.lif2 = Leaky(beta=beta, threshold=threshold, reset="subtract", learn=True)
        self.lif3 = Leaky(beta=beta, threshold=threshold, reset="none", learn=True)
        self.v_x = nn.Parameter(torch.randn(1))
        self.v_y = nn.Parameter(torch.randn(1))
        self.dropout = nn.Dropout(dropout)
        self.spikes = Spikes()
        self.surrogate = arctan(2.0)
        # A row of the original's buffer, which its published footprint counts.
        self.register_buffer("data_buffer", torch.zeros(1, channels), persistent=False)

    def init_state(self, batch: int) -> CountState:
        return self.counts.init_state(batch, self.channels, self.fc1.weight)

    def _run(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the network on normalised counts (bins, samples, C).

        Returns:
            read-out membrane (samples, 2) and the spikes of the three layers, (bins, samples, N).
        """
        layers = (self.lif1, self.lif2, self.lif3)
        neurons = [layer.neuron for layer in layers]
        states = [
            LIFState(*2 * (x.new_zeros(x.shape[1], fc.out_features),))
            for fc in (self.fc1, self.fc2, self.fc3)
        ]

        def fire(layer: int, current: Tensor) -> Tensor:
            states[layer] = lif_step(
                current,
                states[layer],
                neurons[layer],
                surrogate=self.surrogate,
                reset=layers[layer].reset,
            )
            return self.spikes(states[layer].z)

        fired = []
        for counts in x:
            z1 = fire(0, self.dropout(self.fc1(counts)))
            z2 = fire(1, self.fc2(z1))
            z3 = fire(2, self.fc3(z2))
            fired.append((z1, z2, z3))
        return states[2].v, *(torch.stack(z) for z in zip(*fired, strict=True))

    def forward(
        self, spikes: Tensor, state: CountState | None = None, *, trace: Trace | None = None
    ) -> tuple[Tensor, CountState]:
        steps, batch, _ = spikes.shape
        state = self.init_state(batch) if state is None else state
        counts, state = self.counts(spikes.to(self.fc1.weight.dtype), state)
        x = self.norm_layer(counts.transpose(1, 2)).permute(2, 0, 1, 3)  # bins, T, B, C
        if self.stepwise:
            runs = [self._run(x[:, step]) for step in range(steps)]
            membrane = torch.stack([run[0] for run in runs])
            fired = [torch.stack(z, dim=1) for z in list(zip(*runs, strict=True))[1:]]
        else:
            membrane, *fired = self._run(x.flatten(1, 2))
            membrane = membrane.unflatten(0, (steps, batch))
            fired = [z.unflatten(1, (steps, batch)) for z in fired]
        if trace is not None:
            z1, z2, z3 = (z.flatten(0, 1) for z in fired)
            trace.spikes |= {"hidden1": z1, "hidden2": z2}
            trace.activations += [z1, z2, z3]
            trace.calls += [
                LayerCalls(self.fc1, (x.flatten(0, 1),)),
                LayerCalls(self.fc2, (z1,)),
                LayerCalls(self.fc3, (z2,)),
            ]
        velocity = membrane * torch.cat([self.v_x, self.v_y])
        return velocity.to(spikes.dtype), state

    def buffer_sizes(self) -> list[BufferSize]:
        return [BufferSize("input", self.counts.window * self.channels, "input")]

    def activation_modules(self) -> tuple[type[nn.Module], ...]:
        return (Spikes,)
