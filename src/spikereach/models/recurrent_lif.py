"""A recurrent layer of leaky integrate-and-fire neurons as a module."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spikereach.models import streams
from spikereach.models.decoder import STEP_S, LayerCalls, Trace
from spikereach.models.layers import Linear
from spikereach.ops.common import surrogates
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import Surrogate
from spikereach.ops.lif import scan_lif
from spikereach.ops.lif.step import LIFParameters, LIFState
from spikereach.ops.lif.stream import LIFStream

SURROGATES = {
    "fast_sigmoid": surrogates.fast_sigmoid,
    "triangle": surrogates.triangle,
    "arctan": surrogates.arctan,
}
"""Surrogates by name; their number is a slope, the triangle's is its peak."""


def neuron(
    *, tau_ms: float, period: int, surrogate: str, slope: float
) -> tuple[LIFParameters, Surrogate]:
    """Constants and surrogate of Bellec's neuron: threshold 1, decay ``exp(-period / tau)``.

    The decay is the same for all units and not learned: learned constants would not fit the
    published parameter counts.

    Args:
        tau_ms: membrane time constant.
        period: steps of 4 ms between two updates of the layer.
        surrogate: name in :data:`SURROGATES`.
        slope: the surrogate's number.
    Raises:
        ValueError: unknown surrogate, or a time constant that is not positive.
    """
    if surrogate not in SURROGATES:
        raise ValueError(f"unknown surrogate {surrogate!r}; known: {', '.join(SURROGATES)}")
    if not tau_ms > 0:
        raise ValueError(f"the membrane time constant must be positive, got {tau_ms} ms")
    decay = math.exp(-period * STEP_S * 1000 / tau_ms)
    return LIFParameters(decay), SURROGATES[surrogate](slope)


class RecurrentLIF(nn.Module):
    """``v <- alpha v + W x + R z - z v_th``, ``z <- [v > v_th]`` (Bellec et al. 2020).

    W and R have no bias.

    Args:
        inputs: size of ``x``.
        units: neurons.
        constants: as for :func:`neuron`.
    """

    def __init__(self, inputs: int, units: int, **constants):
        super().__init__()
        self.units = units
        self.input = Linear(inputs, units, bias=False)
        self.recurrent = Linear(units, units, bias=False)
        self.spikes = Spikes()
        self.constants, self.surrogate = neuron(**constants)

    def init_state(self, batch: int) -> LIFState:
        zeros = torch.zeros(batch, self.units, device=self.recurrent.weight.device)
        return LIFState(zeros, zeros)

    def streamer(self, state: LIFState, fixed_point: tuple[int, int] | None) -> streams.Stream:
        """This layer for one stream."""
        weights = self.input.weight, self.recurrent.weight
        return LIFStream(*weights, self.constants, state, fixed_point=fixed_point)

    def forward(
        self,
        x: Tensor,
        state: LIFState | None = None,
        *,
        stepwise: bool = False,
        fixed_point: tuple[int, int] | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, LIFState]:
        """Spikes (n, B, units) for n >= 1 inputs (n, B, inputs), and the new state.

        Args:
            x: inputs.
            state: after the last update. None: silent neurons, from which nothing arrives, so
                that the recurrent layer is not called for the first input.
            stepwise: call the recurrent layer as a module at every step, for NeuroBench's hooks.
            fixed_point: bits in which the membrane is stored.
            trace: gets the spikes, and in evaluation mode the layers' inputs.
        """
        silent = state is None
        if silent:
            state = self.init_state(x.shape[1])
        before = state.z
        currents = self.input(x)
        rules = {"surrogate": self.surrogate, "fixed_point": fixed_point}
        if stepwise:
            steps = []
            for current in currents:
                if steps or not silent:
                    current = current + self.recurrent(state.z)
                z, state = scan_lif(current[None], None, self.constants, state, **rules)
                steps.append(z)
            spikes = torch.cat(steps)
        else:
            spikes, state = scan_lif(currents, self.recurrent, self.constants, state, **rules)
        spikes = self.spikes(spikes)
        if trace is not None:
            trace.activations.append(spikes)
        if trace is not None and not self.training:
            previous = spikes[:-1] if silent else torch.cat([before[None], spikes[:-1]])
            trace.calls.append(LayerCalls(self.input, (x[None],)))
            trace.calls.append(LayerCalls(self.recurrent, (previous,)))
        return spikes, state
