"""A recurrent layer of leaky integrate-and-fire neurons as a module."""

import math

import torch
from torch import Tensor, nn

from spikereach.models import stages, streams
from spikereach.models.decoder import STEP_S
from spikereach.models.layers import Linear
from spikereach.ops.common.fixed_point import Format, Formats, bits_of, constant
from spikereach.ops.common.record import note_spikes
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import Surrogate, arctan, fast_sigmoid, triangle
from spikereach.ops.lif import scan_lif
from spikereach.ops.lif.step import LIFParameters, LIFState
from spikereach.ops.lif.stream import LIFStream

SURROGATES = {make.__name__: make for make in (fast_sigmoid, triangle, arctan)}
"""Surrogates by name; their number is a slope, the triangle's is its peak."""


def neuron(
    tau_ms: float, period: int, surrogate: str, slope: float
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


UNIT_BITS = 2
"""Fixed-point membranes are kept in units of ``2**UNIT_BITS`` thresholds, so that a buffer of one
integer bit holds eight thresholds of inhibition. Trained membranes go far below zero, and what
is cut off there costs more than coarser steps."""


def membrane_bits(buffer_format: Format) -> tuple[int, int] | None:
    """Integer and fractional bits of membranes, in thresholds; None where not in fixed point."""
    bits = bits_of(buffer_format)
    return None if bits is None else (bits[0] + UNIT_BITS, bits[1] - UNIT_BITS)


def stored_constants(constants: LIFParameters, formats: Formats) -> LIFParameters:
    """What a decoder in these formats computes with."""
    return LIFParameters(*(constant(value, formats.constants) for value in constants))


class RecurrentLIF(nn.Module):
    """``v <- alpha v + W x + R z - z v_th``, ``z <- [v > v_th]`` (Bellec et al. 2020).

    W and R have no bias.

    Args:
        inputs: size of ``x``.
        units: neurons.
        name: under which spikes are noted.
        constants: of all neurons.
        surrogate: gradient of the spikes.
    """

    def __init__(
        self, inputs: int, units: int, name: str, constants: LIFParameters, surrogate: Surrogate
    ):
        super().__init__()
        self.name = name
        self.units = units
        self.input = Linear(inputs, units, bias=False)
        self.recurrent = Linear(units, units, bias=False)
        self.spikes = Spikes()
        self._constants, self.surrogate = constants, surrogate

    @property
    def constants(self) -> LIFParameters:
        """Those of now, where a subclass learns them."""
        return self._constants

    def init_state(self, batch: int) -> LIFState:
        zeros = torch.zeros(batch, self.units, device=self.recurrent.weight.device)
        return LIFState(zeros, zeros)

    def streamer(self, state: LIFState, formats: Formats) -> streams.Stream:
        """This layer for one stream."""
        weights = self.input.weight, self.recurrent.weight
        fixed_point = membrane_bits(formats.buffers)
        constants = stored_constants(self.constants, formats)
        return LIFStream(*weights, constants, state, fixed_point=fixed_point)

    def stage(self, formats: Formats) -> stages.LIF:
        """This layer as an exported decoder has it."""
        return stages.LIF(
            self.name,
            stages.linear(f"{self.name}.input", self.input),
            stages.linear(f"{self.name}.recurrent", self.recurrent),
            *stored_constants(self.constants, formats),
            "subtract",
            membrane_bits(formats.buffers) or "float32",
        )

    def forward(
        self, x: Tensor, state: LIFState | None, formats: Formats
    ) -> tuple[Tensor, LIFState]:
        """Spikes (n, B, units) for n >= 1 inputs (n, B, inputs), and the new state.

        The state None is that of :func:`.scan_lif`; formats matter if they are fixed point.
        """
        spikes, state = scan_lif(
            self.input(x),
            self.recurrent,
            stored_constants(self.constants, formats),
            state,
            surrogate=self.surrogate,
            fixed_point=membrane_bits(formats.buffers),
        )
        note_spikes(self.name, self.spikes(spikes))
        return spikes, state
