"""Bits and views of the compiled loops against NumPy."""

import numpy as np
import pytest
from numba import njit

from spikereach.ops.common.intrinsics import WIDTH, lowest, nonzero, part, words


@njit
def listed(values, start):
    """Numbers of the elements that are not zero, found bit by bit."""
    found = []
    left = nonzero(values, start)
    while left:
        found.append(start + lowest(left))
        left &= left - np.uint64(1)
    return found


@njit
def doubled(values, number, size):
    view = part(values, number, size)
    for n in range(len(view)):
        view[n] *= 2


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("start", [0, 1, 36])
def test_bits_are_the_elements_that_are_not_zero(kind, start):
    random = np.random.default_rng(start)
    values = random.integers(-1, 2, 100).astype(kind)
    if kind == np.float32:
        values[values < 0] = np.nan
    values[start], values[start + WIDTH - 1] = 3, 5
    expected = start + np.flatnonzero(values[start : start + WIDTH])
    assert listed(values, start) == expected.tolist()


def test_every_single_bit_is_found():
    for n in range(WIDTH):
        values = np.zeros(WIDTH, np.uint8)
        values[n] = 1
        assert listed(values, 0) == [n]
    assert [words(n) for n in (1, WIDTH, WIDTH + 1)] == [1, 1, 2]


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4)])
def test_a_part_is_a_view_of_the_memory(shape):
    values = np.arange(24, dtype=np.float32).reshape(shape)
    expected = values.reshape(-1).copy()
    expected[18:21] *= 2
    doubled(values, 6, 3)
    np.testing.assert_array_equal(values.reshape(-1), expected)
