"""Intervals of time, against masks of a fine grid."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spikereach.data.nwb import stretches
from spikereach.data.nwb.stretches import common, merged, sampled, usable, without

GRID = np.arange(0, 60) + 0.5
pairs = st.lists(st.tuples(st.integers(0, 59), st.integers(1, 20)), max_size=6)


def mask(intervals):
    return np.any([(a < GRID) & (b > GRID) for a, b in [*intervals, (0, 0)]], axis=0)


def of(drawn):
    return [(float(a), float(a + n)) for a, n in drawn]


@given(pairs, pairs)
def test_sets_of_intervals(first, second):
    one, two = merged(of(first)), merged(of(second))
    assert np.array_equal(mask(one), mask(of(first)))
    assert np.array_equal(mask(common(one, two)), mask(one) & mask(two))
    assert np.array_equal(mask(without(one, two)), mask(one) & ~mask(two))
    for found in (one, common(one, two), without(one, two)):
        edges = [edge for each in found for edge in each]
        assert edges == sorted(edges)


@given(pairs, pairs, pairs)
def test_what_is_recorded_is_kept_or_told_of(recorded, observed, invalid):
    recorded, observed, invalid = map(merged, map(of, (recorded, observed, invalid)))
    kept, out = usable((0.0, 60.0), recorded, observed, invalid)
    assert np.array_equal(mask(kept), mask(recorded) & mask(observed) & ~mask(invalid))
    told = mask([(each.start_s, each.stop_s) for each in out])
    assert np.array_equal(told, ~mask(kept))
    assert all(b - a >= stretches.SHORTEST_S for a, b in kept)


def test_trials_one_after_the_other_are_one_interval():
    trials = 0.6 * np.stack([np.arange(1080), np.arange(1, 1081)], axis=1) + [[0, -1e-9]]
    (whole,) = merged(trials)
    assert np.allclose(whole, (0, 648))


def test_gaps_between_samples():
    times = np.concatenate([np.arange(1000), np.arange(2000, 3000), np.arange(3018, 4000)]) / 1000
    finite = np.ones(len(times), bool)
    assert sampled(times, finite) == [(0.0, 0.999), (2.0, 3.999)], "19 ms are no gap"
    finite[100:110] = False
    assert len(sampled(times, finite)) == 2
    finite[200:300] = False
    assert sampled(times, finite)[:2] == [(0.0, 0.199), (0.3, 0.999)]
    assert sampled(times, np.zeros(len(times), bool)) == []
    slow = np.arange(100) / 30
    assert sampled(np.delete(slow, 50), np.ones(99, bool)) == [(0.0, 3.3)], "one frame is lost"
