"""Channels that record no neurons, with faults that are put into noise."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikereach.data.binning import BinnedSession
from spikereach.data.suspicion import RUN, SHARED, Suspicion, suspicions
from spikereach.evaluation.yardstick import linear_r2
from spikereach.kinds import Kind, kind_of
from spikereach.reporting.plots.recording import recording
from spikereach.reporting.prospects import prospects

STEPS, CHANNELS = 12_000, 10


def noise(rng, steps=STEPS, channels=CHANNELS, rates=(0.002, 0.3)):
    """Independent channels, each with its own share of steps with a spike."""
    shares = rng.uniform(*rates, size=channels)
    return (rng.random((steps, channels)) < shares).astype(np.uint8)


@pytest.fixture(scope="module")
def faulty():
    """With each fault once, and what they are."""
    rng = np.random.default_rng(0)
    spikes = noise(rng, rates=(0.05, 0.3))
    time = np.arange(STEPS)
    spikes[:, 0] = 0
    spikes[:, 1] = rng.random(STEPS) < 0.9
    spikes[3000 : 3000 + RUN, 2] = 1
    spikes[:, 3] = spikes[:, 7] & (rng.random(STEPS) < 0.8)
    spikes[:, 4] |= (np.sin(2 * np.pi * 60 * 0.004 * time) > 0.8) & (rng.random(STEPS) < 0.5)
    spikes[:, 5] = time % 25 == 0
    kinds = {0: "silent", 1: "saturated", 2: "saturated", 3: "identical", 4: "periodic"}
    return spikes, kinds | {5: "periodic", 7: "identical"}


@pytest.mark.parametrize("order", [1, -1])
def test_each_fault_is_found_and_no_other(order, faulty):
    spikes, kinds = faulty
    names = list(range(CHANNELS))[::order]
    found = suspicions(spikes[:, ::order])
    told = {names[channel]: each.kind for each in found for channel in each.channels}
    assert told == kinds


def test_details_are_those_of_the_faults(faulty):
    spikes, _ = faulty
    texts = [str(each) for each in suspicions(spikes)]
    common = (spikes[:, 3] & spikes[:, 7]).sum() / (spikes[:, 3] | spikes[:, 7]).sum()
    assert "0 silent" in texts
    assert "1 saturated (a spike in 90 % of the steps)" in texts
    assert "2 saturated (a spike in every step for 1.0 s)" in texts
    assert f"3 and 7 identical ({100 * common:.0f} % of their spikes in common)" in texts
    assert "5 periodic (10.0 Hz)" in texts
    [hum] = (text for text in texts if text.startswith("4 "))
    assert float(hum.split("(")[1].split()[0]) == pytest.approx(60, abs=0.2)


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 9000))
@settings(max_examples=25, deadline=None)
def test_noise_is_not_suspected(seed, steps):
    spikes = noise(np.random.default_rng(seed), steps)
    assert all(each.kind == "silent" for each in suspicions(spikes))


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), min_size=2, max_size=7), st.data())
@settings(max_examples=25, deadline=None)
def test_identical_channels_are_the_groups_that_share_spikes(copies, data):
    """Each channel is one of a few, thinned; compared with all pairs in plain NumPy."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    originals = (rng.random((3000, 6)) < 0.2).astype(np.uint8)
    columns = [originals[:, of] * (rng.random(3000) < 0.5 + kept / 2) for of, kept in copies]
    spikes = np.stack(columns, axis=1).astype(np.uint8)
    alike = np.array([[(a & b).sum() / (a | b).sum() for b in spikes.T] for a in spikes.T])
    reach = np.linalg.matrix_power((alike >= SHARED).astype(int), len(copies)) > 0
    groups = {tuple(map(int, np.flatnonzero(row))) for row in reach if row.sum() > 1}
    found = [each for each in suspicions(spikes) if each.kind == "identical"]
    assert {each.channels for each in found} == groups
    for each in found:
        shares = [alike[a, b] for a in each.channels for b in each.channels if a != b]
        lowest = min(share for share in shares if share >= SHARED)
        assert each.detail.startswith(f"{100 * lowest:.0f} %")


# ---- What it means for a decoder ----------------------------------------------------------


@pytest.fixture(scope="module")
def session(faulty):
    """Whose velocity is a sum of spikes of two channels: the last 160 ms of them."""
    spikes = faulty[0]
    counts = np.stack([np.convolve(spikes[:, c], np.ones(40))[:STEPS] for c in (8, 9)], axis=1)
    velocity = (counts - counts.mean(axis=0)).astype(np.float32)
    bounds = np.arange(0, STEPS + 1, 300)
    return BinnedSession(
        name="faulty",
        monkey="rex",
        spikes=spikes,
        velocity=velocity,
        position=np.cumsum(velocity, axis=0),
        areas=("M1",) * 6 + ("S1",) * 4,
        start_s=100.0,
        segments=np.array(list(pairwise(bounds))),
        provenance={"source": "faulty.mat"},
    )


def test_linear_filter_decodes_what_is_linear(session):
    """All but the first 160 ms of the test part, before which it has seen nothing."""
    assert linear_r2(session, range(CHANNELS)) > 0.9
    assert linear_r2(session, [8, 9]) > 0.9
    assert linear_r2(session, [1, 4, 6]) < 0.05
    few = dataclasses.replace(session, segments=np.array([[0, 130], [130, 9000], [9000, STEPS]]))
    assert linear_r2(few, [8, 9]) is None


def test_sentences_say_what_is_so(session):
    found = suspicions(session.spikes)
    first, named, share, *others = prospects(session, found, 0.5, 0.25)
    assert "R2 0.50" in first
    assert "(10 segments in 12 s), and 0.25 without" in first
    assert "5 periodic (10.0 Hz)" in named
    wrong = session.spikes[:, [1, 2, 3, 4, 5, 7]].sum() / session.spikes.sum()
    assert f"have {100 * wrong:.0f} % of all spikes" in share
    assert any("Silent: 1 of 10 channels" in each for each in others)
    assert f"{session.spikes.sum() / STEPS:.2f} N times" in others[-1]
    assert "another clock" in prospects(session, [], 0.01, None)[0]
    assert "too short" in prospects(session, [], None, None)[0]


def test_channels_that_change_are_named(session):
    spikes = session.spikes.copy()
    spikes[9000:, 8] = 0
    spikes[9000:, 6] |= (np.arange(3000) % 2).astype(np.uint8)
    [line] = (
        each
        for each in prospects(dataclasses.replace(session, spikes=spikes), [], 0.5, None)
        if "factor" in each
    )
    assert "The rate of 2 of 10 channels differs" in line
    assert "(6, 8)" in line


def test_least_that_can_be_checked_is_drawn(tmp_path):
    """One channel, two steps of test."""
    velocity = np.arange(16, dtype=np.float32).reshape(8, 2)
    session = BinnedSession(
        name="short",
        monkey="rex",
        spikes=np.ones((8, 1), np.uint8),
        velocity=velocity,
        position=velocity,
        areas=("M1",),
        start_s=0.0,
        segments=np.array([[0, 2], [2, 4], [4, 6], [6, 8]]),
        provenance={"source": "short.mat"},
    )
    sentences = prospects(session, suspicions(session.spikes), linear_r2(session, [0]), None)
    (tmp_path / "figure").write_bytes(recording(session, [], sentences))
    assert kind_of(tmp_path / "figure") is Kind.FIGURE


def test_a_suspicion_is_one_line():
    assert str(Suspicion("identical", (3, 17), "99 %")) == "3 and 17 identical (99 %)"
