"""Energy of arithmetic at 45 nm and 0.9 V (Horowitz, ISSCC 2014, figure 1.1.9).

Of operations alone, without memory traffic, which in many chips needs more.
"""

import math

from spikereach.evaluation.records import Format

FLOAT_PJ = {"float16": (1.1, 0.4), "float32": (3.7, 0.9)}
"""Picojoules of a multiplication and an addition."""

INTEGER_ADD_PJ = 0.1 / 32
"""Per bit: 0.1 pJ of a 32-bit addition (an 8-bit one has 0.03)."""

INTEGER_MULTIPLY_PJ = 3.1 / 32**2
"""Per bit of one factor and bit of the other: 3.1 pJ for 32 bits each (8 bits each: 0.2)."""

ACCUMULATOR_BITS = 32


def operation_pj(weights: Format, activations: Format) -> tuple[float, float]:
    """Picojoules of a multiply-accumulate and of an accumulate.

    Fixed-point factors are multiplied at their own widths and added up in an accumulator of
    32 bits. Where one operand is floating-point, both are taken as the wider floating-point
    format among them.
    """
    floats = {each for each in (weights, activations) if isinstance(each, str)}
    if floats:
        multiply, add = FLOAT_PJ["float32" if "float32" in floats else "float16"]
    else:
        multiply = INTEGER_MULTIPLY_PJ * _width(weights) * _width(activations)
        add = INTEGER_ADD_PJ * ACCUMULATOR_BITS
    return multiply + add, add


def _width(fixed_point: tuple[int, int] | int) -> int:
    return fixed_point if isinstance(fixed_point, int) else 1 + sum(fixed_point)


def energy_nj(macs: float, acs: float, weights: Format, activations: Format) -> float:
    """Nanojoules of effective operations; NaN where these are None."""
    if macs is None or acs is None:
        return math.nan
    mac_pj, ac_pj = operation_pj(weights, activations)
    return (macs * mac_pj + acs * ac_pj) / 1e3
