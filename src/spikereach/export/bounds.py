"""How large integers get, from weights and formats alone."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spikereach.export.errors import ExportError
from spikereach.export.program import Layer, Program
from spikereach.models import stages

ACCUMULATOR_BITS = 31
"""Of a 32-bit accumulator without its sign."""
FLOAT32_BITS = 24
"""Integers up to two to this power are exact in float32."""


class Bound(NamedTuple):
    """Of one accumulator over all its neurons."""

    layer: str
    largest: int
    """No partial sum, in whichever order, exceeds it."""
    bits: int
    """Its fractional bits."""
    saturates: int | None
    """What is stored of it ends here, in its own unit; None: it is kept whole."""
    exact: bool
    """Whether float32 arithmetic gives what is stored to the last bit."""


def bounds(program: Program) -> list[Bound]:
    """Of all accumulators, layer by layer."""
    return list(_of(program.layers, 1, program.weights[1]))


def exact(program: Program) -> bool:
    """Whether the decoder in float32 equals its integers to the last bit.

    All values are multiples of powers of two. A sum is exact in float32 up to ``2**24`` of its
    smallest unit. The last addition before a value is stored may be rounded beyond that, which
    changes nothing where all that is stored is that it lies beyond the format's end.
    """
    return all(bound.exact for bound in bounds(program))


def check(program: Program) -> None:
    """Whether 32-bit accumulators suffice.

    Raises:
        ExportError: they do not; names layer and bits.
    """
    for bound in bounds(program):
        needed = bound.largest.bit_length()
        if needed > ACCUMULATOR_BITS:
            raise ExportError(
                f"{bound.layer}: its sums need {needed} bits and a sign, 32-bit accumulators have "
                f"{ACCUMULATOR_BITS}: compress the decoder to weight_bits or buffer_bits with "
                "fewer fractional bits"
            )


def _of(layers: tuple[Layer, ...], largest: int, fraction: int) -> Iterator[Bound]:
    """Bounds of layers whose inputs are at most ``largest``; the last one's is of their output."""
    for layer in layers:
        found = list(_layer(layer, largest, fraction))
        yield from found
        largest = _output(layer.stage, found, largest, fraction)


def _output(stage: stages.Stage, found: list[Bound], largest: int, fraction: int) -> int:
    """Largest magnitude of what a stage gives, in the unit of its output."""
    match stage:
        case stages.LIF() | stages.CurrentLIF():
            return 1
        case stages.Convolution(buffers=grid):
            return 2 ** sum(grid)
        case stages.Integrator(membranes=grid) | stages.CurrentIntegrator(membranes=grid):
            return 2 ** sum(grid)
        case stages.Parallel():
            return max(_end(branch, largest, fraction) for branch in stage.branches)
        case _:
            return found[-1].largest


def _end(layers: tuple[Layer, ...], largest: int, fraction: int) -> int:
    """Largest magnitude of what these layers give."""
    for layer in layers:
        found = list(_layer(layer, largest, fraction))
        largest = _output(layer.stage, found, largest, fraction)
    return largest


def _layer(layer: Layer, largest: int, fraction: int) -> Iterator[Bound]:
    stage, before = layer.stage, layer.input_bits
    match stage:
        case stages.Convolution():
            sums = np.abs(stage.weight).sum((1, 2)) * largest + (np.abs(stage.bias) << before)
            sums = int(sums.max())
            yield _stored(stage.name, sums, fraction + before, stage.buffers, first=sums)
        case stages.Linear():
            yield _kept(stage.name, _received(stage, largest, before), fraction + before)
        case stages.LIF():
            bits = fraction + max(before, stage.membranes[1])
            terms = [
                stage.decay << (bits - fraction - stage.membranes[1]) + sum(stage.membranes),
                _received(stage.input, largest, before) << (bits - fraction - before),
                stage.threshold << (bits - fraction),
            ]
            if stage.recurrent is not None:
                terms.append(_received(stage.recurrent, 1, 0) << (bits - fraction))
            decayed, threshold, total = abs(terms[0]), abs(terms[2]), sum(map(abs, terms))
            first = max(decayed, total - decayed - threshold)
            yield _stored(stage.name, total, bits, stage.membranes, last=threshold, first=first)
        case stages.CurrentLIF():
            arriving = _received(stage.input, largest, before)
            arriving += _received(stage.recurrent, 1, 0) << before
            yield _kept(f"{stage.name}: arriving", arriving, fraction + before)
            yield from _currents(stage, arriving, fraction + before, fraction)
        case stages.CurrentIntegrator():
            yield from _currents(stage, largest, before, fraction)
        case stages.Integrator():
            bits = max(fraction + stage.membranes[1], before)
            decayed = stage.decay << (bits - fraction - stage.membranes[1]) + sum(stage.membranes)
            yield _stored(
                stage.name, abs(decayed) + (largest << (bits - before)), bits, stage.membranes
            )
        case stages.Mean():
            yield _kept("mean", largest * stage.groups, before)
        case stages.Keypoints():
            # In floating point the difference of two keypoints is multiplied.
            kept = _kept("keypoints", largest * stage.period, layer.output_bits)
            yield kept._replace(exact=2 * kept.largest <= 2**FLOAT32_BITS)
        case stages.Parallel():
            for branch in stage.branches:
                yield from _of(branch, largest, fraction)


def _currents(
    stage: stages.CurrentLIF | stages.CurrentIntegrator, arriving: int, before: int, fraction: int
) -> Iterator[Bound]:
    """Of membranes and synaptic currents."""
    bits, end = fraction + stage.membranes[1], 2 ** sum(stage.membranes)
    mem = np.abs(stage.mem) + np.abs((1 << fraction) - stage.mem)
    yield _stored(f"{stage.name}: membranes", int(mem.max()) * end, bits, stage.membranes)
    finest = max(bits, before)
    decayed = int(np.abs(stage.syn).max()) * end << (finest - bits)
    name = f"{stage.name}: synaptic currents"
    yield _stored(name, decayed + (arriving << (finest - before)), finest, stage.membranes)


def _received(layer: stages.Linear, largest: int, before: int) -> int:
    sums = np.abs(layer.weight).sum(1) * largest
    if layer.bias is not None:
        sums += np.abs(layer.bias) << before
    return int(sums.max())


def _kept(name: str, largest: int, bits: int) -> Bound:
    return Bound(name, largest, bits, None, largest <= 2**FLOAT32_BITS)


def _stored(
    name: str, largest: int, bits: int, grid: tuple[int, int], last: int = 0, first: int = 0
) -> Bound:
    """``first``: the largest sum before the last addition but ``last``, the largest term that may
    be added to a sum that lies beyond the end."""
    finer = max(grid[1] - bits, 0)  # it is multiplied before it saturates
    largest, bits, last, first = largest << finer, bits + finer, last << finer, first << finer
    saturates = 1 << grid[0] + bits
    whole = saturates + last < 2**FLOAT32_BITS and first <= 2**FLOAT32_BITS
    return Bound(name, largest, bits, saturates, whole or largest <= 2**FLOAT32_BITS)
