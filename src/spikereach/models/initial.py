"""Initial weights of LIF neurons, from the firing rates of the input channels.

With PyTorch's initial weights the membranes of neurons that few or quiet channels reach move by
some hundredths of the threshold: they hardly spike, the surrogate gradient there is next to
nothing, and nothing is learned. Fluctuation-driven initialisation (Rossbroich et al. 2022) makes
membranes fluctuate around zero by a given share of the threshold. Here the fluctuation is not
computed, because convolutions and pools lie between, but measured on random spikes.
"""

import torch
from torch import Tensor, nn

from spikereach.models.decoder import STEP_S

WINDOWS = 8
SETTLING = 20
"""Frames until a membrane has forgotten that it began at zero."""


def likely_spikes(rates_hz: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Random spikes (steps, WINDOWS, C), bytes, of channels that fire at these rates (C,)."""
    drawn = torch.rand(steps, WINDOWS, len(rates_hz), generator=generator)
    return (drawn < rates_hz * STEP_S).byte()


@torch.no_grad()
def spread_membranes(layer: nn.Linear, inputs: Tensor, decay: float, spread: float) -> None:
    """Scale the weights of each neuron so that its membrane has a root mean square of ``spread``.

    Args:
        layer: linear, without bias, from inputs to currents.
        inputs: (n, B, inputs), n over SETTLING.
        decay: of the membranes, per frame.
        spread: in thresholds, of a membrane that neither spikes nor has recurrent input.
    """
    currents = layer(inputs)
    membrane, squares = torch.zeros_like(currents[0]), torch.zeros_like(currents[0])
    for number, current in enumerate(currents):
        membrane = decay * membrane + current
        if number >= SETTLING:
            squares += membrane.square()
    found = (squares.mean(0) / (len(currents) - SETTLING)).sqrt()
    layer.weight.mul_((spread / found.clamp_min(1e-6))[:, None])
