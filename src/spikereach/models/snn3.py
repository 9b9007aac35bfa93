"""NeuroBench's SNN3 (Yik et al. 2025): a spiking network run anew for every prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikereach.models.counts import Counts, CountState
from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.models.leaky import Leaky
from spikereach.ops.common.record import note_spikes
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
        super().__init__(
            channels=channels, timing=Timing(receptive_field=window, once_per_step=True)
        )
        self.counts = Counts(window=window, bins=bins, width=window // bins)
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

    def _run(self, x: Tensor) -> Tensor:
        """Read-out membrane (T, B, 2) after normalised counts (bins, T, B, C)."""
        steps = x.shape[1:3]
        x = x.flatten(1, 2)
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
            fire(2, self.fc3(z2))
            fired.append((z1, z2))
        for name, z in zip(("hidden1", "hidden2"), zip(*fired, strict=True), strict=True):
            note_spikes(name, torch.stack(z).unflatten(1, steps).flatten(0, 1))
        return states[2].v.unflatten(0, steps)

    def forward(self, spikes: Tensor, state: CountState | None = None) -> tuple[Tensor, CountState]:
        counts, state = self.counts(spikes.to(self.fc1.weight.dtype), state)
        x = self.norm_layer(counts.transpose(1, 2)).permute(2, 0, 1, 3)  # bins, T, B, C
        velocity = self._run(x) * torch.cat([self.v_x, self.v_y])
        return velocity.to(spikes.dtype), state

    def buffer_sizes(self) -> list[BufferSize]:
        return [BufferSize("input", self.counts.window * self.channels, "input")]
