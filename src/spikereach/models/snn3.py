"""NeuroBench's SNN3 (Yik et al. 2025): a spiking network run anew for every prediction."""

from functools import partial

import torch
from torch import Tensor, nn

from spikereach.models.counts import Counting, CountState
from spikereach.models.leaky import Leaky
from spikereach.ops.common.record import note_spikes
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import arctan
from spikereach.ops.lif.step import LIFState, lif_step


class SNN3(Counting):
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
        super().__init__(channels, window, bins)
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

    def _run(self, x: Tensor) -> Tensor:
        """Read-out membrane (T, B, 2) after normalised counts (bins, T, B, C)."""
        steps = x.shape[1:3]
        x = x.flatten(1, 2)
        fires = [
            partial(lif_step, parameters=lif.neuron, surrogate=self.surrogate, reset=lif.reset)
            for lif in (self.lif1, self.lif2, self.lif3)
        ]
        rest = [x.new_zeros(x.shape[1], fc.out_features) for fc in (self.fc1, self.fc2, self.fc3)]
        one, two, three = (LIFState(zeros, zeros) for zeros in rest)
        fired = []
        for counts in x:
            one = fires[0](self.dropout(self.fc1(counts)), one)
            two = fires[1](self.fc2(self.spikes(one.z)), two)
            three = fires[2](self.fc3(self.spikes(two.z)), three)
            self.spikes(three.z)
            fired.append((one.z, two.z))
        for name, z in zip(("hidden1", "hidden2"), zip(*fired, strict=True), strict=True):
            note_spikes(name, torch.stack(z).unflatten(1, steps).flatten(0, 1))
        return three.v.unflatten(0, steps)

    def forward(self, spikes: Tensor, state: CountState | None = None) -> tuple[Tensor, CountState]:
        counts, state = self.counts(spikes.to(self.fc1.weight.dtype), state)
        x = self.norm_layer(counts.transpose(1, 2)).permute(2, 0, 1, 3)  # bins, T, B, C
        velocity = self._run(x) * torch.cat([self.v_x, self.v_y])
        return velocity.to(spikes.dtype), state
