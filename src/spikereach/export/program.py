"""A fixed-point decoder as integers.

A value with ``f`` fractional bits is an integer times ``2**-f``. Weights and constants have those
of the weight format, frames and membranes those of their buffers, spikes none. Sums are exact; what
is stored is rounded to its format, to the nearest number and ties to even, and saturates at its
ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import NamedTuple

import numpy as np
import torch

from spikereach.export.errors import ExportError
from spikereach.models import stages
from spikereach.models.decoder import Decoder, Standardisation
from spikereach.ops.common.fixed_point import Format, bits_of


class Layer(NamedTuple):
    """A stage in integers."""

    stage: stages.Stage
    """Of `models.stages`: weights and constants are int64 arrays and ints with the fractional bits
    of the program's weights, ``start`` has those of its membranes. The branches of a
    :class:`.Parallel` are layers."""
    input_bits: int
    """Fractional bits of the stage's input."""
    output_bits: int


@dataclass(frozen=True)
class Program:
    """What an integer decoder computes.

    A velocity is an integer times ``2**-output_bits / divisor``, standardised as trained.
    """

    layers: tuple[Layer, ...]
    channels: int
    lookahead: int
    weights: tuple[int, int]
    """Integer and fractional bits."""
    output_bits: int
    divisor: int
    standardisation: Standardisation

    @property
    def unit(self) -> float:
        """Of a velocity."""
        return 2.0**-self.output_bits / self.divisor


def program(decoder: Decoder) -> Program:
    """A decoder that was compressed to fixed point, in integers.

    Args:
        decoder: in evaluation mode its stream gives the same velocities (`bounds.exact`).
    Raises:
        ExportError: it is no fixed-point decoder, or a weight or constant is not on the grid.
        NoStagesError: a layer does not say what it computes.
    """
    found = decoder.stages()
    if isinstance(decoder.weight_format, int):
        raise ExportError(
            f"{type(decoder).__name__} has a scale for each matrix of {decoder.weight_format}-bit "
            "weights, and integers are written for one grid: give the compression step `kind: "
            "fixed_point` integer and fractional bits, such as weight_bits: [1, 6]"
        )
    weights = bits_of(decoder.weight_format)
    if weights is None or bits_of(decoder.buffer_format) is None:
        raise ExportError(
            f"{type(decoder).__name__} has {_told(decoder.weight_format)} weights and "
            f"{_told(decoder.buffer_format)} buffers, and integers need fixed point for both: "
            "give the system a compression step `kind: fixed_point` with weight_bits and "
            "buffer_bits"
        )
    layers, bits = _layers(found, 0, weights)
    groups = [stage.groups for stage in found if isinstance(stage, stages.Mean)]
    return Program(
        layers,
        decoder.channels,
        decoder.timing.lookahead,
        weights,
        bits,
        int(np.prod(groups, dtype=int)),
        decoder.standardisation,
    )


def _told(number_format: Format) -> str:
    bits = bits_of(number_format)
    return number_format if bits is None else f"fixed-point {list(bits)}"


def _layers(
    found: Sequence[stages.Stage], bits: int, weights: tuple[int, int]
) -> tuple[tuple[Layer, ...], int]:
    """Layers of stages whose input has ``bits`` fractional bits, and the bits of their output."""
    layers = []
    for stage in found:
        layer = _layer(stage, bits, weights)
        layers.append(layer)
        bits = layer.output_bits
    return tuple(layers), bits


def _layer(stage: stages.Stage, bits: int, weights: tuple[int, int]) -> Layer:
    fraction = weights[1]

    def on_grid(what: str, values) -> np.ndarray:
        return integers(f"{stage.name}: {what}", values, weights)

    def linear(layer: stages.Linear) -> stages.Linear:
        bias = None if layer.bias is None else integers(f"{layer.name}: bias", layer.bias, weights)
        return replace(
            layer, weight=integers(f"{layer.name}: weight", layer.weight, weights), bias=bias
        )

    match stage:
        case stages.Convolution():
            weight, bias = on_grid("weight", stage.weight), on_grid("bias", stage.bias)
            _, after = stored(stage.name, stage.buffers)
            return Layer(replace(stage, weight=weight, bias=bias), bits, after)
        case stages.Linear():
            return Layer(linear(stage), bits, fraction + bits)
        case stages.LIF():
            stored(stage.name, stage.membranes)
            recurrent = None if stage.recurrent is None else linear(stage.recurrent)
            constants = {
                "decay": int(on_grid("decay", stage.decay)),
                "threshold": int(on_grid("threshold", stage.threshold)),
            }
            changed = replace(stage, input=linear(stage.input), recurrent=recurrent, **constants)
            return Layer(changed, bits, 0)
        case stages.CurrentLIF():
            stored(stage.name, stage.membranes)
            decays = {name: on_grid(name, getattr(stage, name)) for name in ("mem", "syn")}
            layers = {name: linear(getattr(stage, name)) for name in ("input", "recurrent")}
            return Layer(replace(stage, **layers, **decays), bits, 0)
        case stages.Integrator():
            _, after = stored(stage.name, stage.membranes)
            return Layer(replace(stage, decay=int(on_grid("decay", stage.decay))), bits, after)
        case stages.CurrentIntegrator():
            grid = stored(stage.name, stage.membranes)
            decays = {name: on_grid(name, getattr(stage, name)) for name in ("mem", "syn")}
            start = int(integers(f"{stage.name}: start", stage.start, grid))
            return Layer(replace(stage, start=start, **decays), bits, grid[1])
        case stages.Mean():
            return Layer(stage, bits, bits)
        case stages.Keypoints():
            if not log2(stage.period).is_integer():
                raise ExportError(
                    f"velocities between keypoints of {stage.period} steps are no binary "
                    "fractions: give the decoder an update period that is a power of two"
                )
            return Layer(stage, bits, bits + int(log2(stage.period)))
        case stages.Parallel():
            branches = [_layers(branch, bits, weights) for branch in stage.branches]
            ends = {end for _, end in branches}
            if len(ends) != 1:
                raise ExportError(
                    f"branches end with {sorted(ends)} fractional bits: make them equal"
                )
            changed = replace(stage, branches=tuple(layers for layers, _ in branches))
            return Layer(changed, bits, ends.pop())
        case _:
            raise ExportError(f"{type(stage).__name__} is no stage of spikereach.models.stages")


def stored(name: str, number_format: Format) -> tuple[int, int]:
    """Integer and fractional bits in which a stage stores.

    Raises:
        ExportError: it stores in no fixed-point format.
    """
    bits = bits_of(number_format)
    if bits is None:
        raise ExportError(
            f"{name} stores {number_format} values: give its stage a fixed-point format"
        )
    return bits


def integers(name: str, values, bits: tuple[int, int]) -> np.ndarray:
    """Values of a grid as multiples of its step, int64.

    Raises:
        ExportError: a value is not on the grid.
    """
    exact = torch.as_tensor(values, dtype=torch.float64).numpy()
    scaled = exact * 2.0 ** bits[1]
    whole = np.rint(scaled)
    limit = 2.0 ** sum(bits)
    wrong = (scaled != whole) | (whole < -limit) | (whole > limit - 1)
    if wrong.any():
        value = exact[wrong].flat[0] if exact.ndim else exact
        raise ExportError(
            f"{name} {value:.7g} is not on the grid of {list(bits)} (integer and fractional bits, "
            f"steps of 1/{2 ** bits[1]}, less than {2 ** bits[0]}): compress the decoder by "
            "kind: fixed_point, and round constants by ops.common.fixed_point.constant"
        )
    return whole.astype(np.int64)
