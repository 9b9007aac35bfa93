"""Training windows."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikereach.data.binning import BinnedSession
from spikereach.data.errors import SessionError
from spikereach.data.windows import Windows


def session(name="a", steps=400, areas=("M1", "M1", "S1"), seed=0):
    """Velocity tells step and session: x is the step, y the seed, at odd steps and a half."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(steps)
    bounds = np.linspace(0, steps, 21).astype(np.int64)
    return BinnedSession(
        name=name,
        monkey="m",
        spikes=(rng.random((steps, len(areas))) < 0.3).astype(np.uint8),
        velocity=np.stack([numbers, seed + numbers % 2 / 2], 1).astype(np.float32),
        position=np.zeros((steps, 2), np.float32),
        areas=areas,
        start_s=0.0,
        segments=np.stack([bounds[:-1], bounds[1:]], 1),
        provenance={"source": "a.mat"},
    )


def windows(sessions, part="train", window=30, stride=7, areas=("M1", "S1"), scheme="neurobench"):
    return Windows(sessions, part, scheme, areas, window, stride)


@pytest.mark.parametrize("scheme", ["neurobench", "liu2024"])
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_windows_are_slices_of_their_part(part, scheme):
    sessions = [session(seed=0), session("b", 600, seed=1)]
    cut = windows(sessions, part, scheme=scheme)
    expected = []
    for s in sessions:
        steps = getattr(s.split(scheme), part)
        expected += [(s, start) for start in range(steps.start, steps.stop - 30 + 1, 7)]
    assert len(cut) == len(expected)
    order = np.random.default_rng(1).permutation(len(cut))
    spikes, velocity = cut.batch(order)
    assert spikes.shape == (30, len(cut), 3)
    assert velocity.shape == (30, len(cut), 2)
    assert (spikes.dtype, velocity.dtype) == (np.uint8, np.float32)
    for column, number in enumerate(order):
        source, start = expected[number]
        np.testing.assert_array_equal(spikes[:, column], source.spikes[start : start + 30])
        np.testing.assert_array_equal(velocity[:, column], source.velocity[start : start + 30])


@pytest.mark.parametrize(
    ("have", "read", "columns"),
    [
        (("M1", "M1", "S1"), ("M1",), [0, 1]),
        (("M1", "M1", "S1"), ("S1",), [2]),
        (("M1", "M1", "S1"), ("S1", "M1"), [0, 1, 2]),
        (("M1", "S1", "M1"), ("M1",), [0, 2]),
        (("M1", "M1", "M1"), ("M1", "S1"), [0, 1, 2]),
    ],
)
def test_channels_of_the_areas_in_file_order(have, read, columns):
    source = session(areas=have)
    spikes, _ = windows([source], areas=read).batch([0])
    np.testing.assert_array_equal(spikes[:, 0], source.spikes[:30, columns])


@settings(max_examples=100, deadline=None)
@given(
    steps=st.integers(600, 1200),
    stride=st.sampled_from([5, 6, 10, 15, 30]),
    part=st.sampled_from(["train", "val", "train+val"]),
)
def test_tiled_windows_are_those_of_the_published_code(steps, stride, part):
    """For each offset the part is cut into pieces of one length, and the last piece is dropped."""
    source = session(steps=steps)
    split = source.split("liu2024")
    first, _, last = part.rpartition("+")
    ends = getattr(split, first or last).start, getattr(split, last).stop
    expected = []
    for offset in range(0, 30, stride):
        shifted = range(ends[0] + offset, ends[1])
        pieces = [shifted[start : start + 30] for start in range(0, len(shifted), 30)]
        expected += [piece.start for piece in pieces[:-1]]
    cut = Windows([source], part, "liu2024", ("M1",), 30, stride, "tiled")
    _, velocity = cut.batch(range(len(cut)))
    assert velocity[0, :, 0].tolist() == expected


def test_tiled_windows_are_as_many_as_in_a_published_run():
    """The authors' code cut 25,907 and 5,467 steps of a recording into 255 and 50 windows."""
    source = session(steps=41000)
    bounds = np.array([0, 10000, 20500, 31374, 41000])  # the test part begins after 31,374 steps
    source = dataclasses.replace(source, segments=np.stack([bounds[:-1], bounds[1:]], 1))
    for part, steps, count in (("train", 25907, 255), ("val", 5467, 50)):
        cut = Windows([source], part, "liu2024", ("M1",), 500, 100, "tiled")
        assert (len(cut.parts[0]), len(cut)) == (steps, count)


def test_rates_count_a_step_as_often_as_windows_have_it():
    sessions = [session(seed=0), session("b", 600, seed=1)]
    for placement in ("every", "tiled"):
        cut = Windows(sessions, "train", "neurobench", ("M1", "S1"), 30, 10, placement)
        spikes, _ = cut.batch(range(len(cut)))
        np.testing.assert_allclose(cut.rates_hz(), spikes.mean(axis=(0, 1)) / 0.004)


def test_a_part_of_exactly_one_window():
    source = session()
    steps = source.split("neurobench").val
    cut = windows([source], "val", window=len(steps))
    assert len(cut) == 1
    np.testing.assert_array_equal(cut.batch([0])[1][:, 0, 0], np.array(steps))


def test_a_part_shorter_than_a_window():
    with pytest.raises(SessionError, match=r"session b: the val part has 100 steps.*needs 101"):
        windows([session(steps=800), session("b", 400)], "val", window=101)


def test_sessions_with_other_channel_counts():
    with pytest.raises(SessionError, match="session b: 3 channels in the areas read"):
        windows([session(), session("b", areas=("M1", "M1", "M1"))], areas=("M1",))


def test_an_area_the_session_lacks():
    with pytest.raises(SessionError, match="session a: no channel in S1, only in M1"):
        windows([session(areas=("M1",))], areas=("S1",))


@pytest.mark.parametrize("number", [-1, 10**6])
def test_numbers_out_of_range(number):
    with pytest.raises(IndexError, match="window numbers"):
        windows([session()]).batch([number])


def test_no_copy_of_the_session_is_kept():
    source = session()
    cut = windows([source])
    source.spikes[:30] = 1
    assert cut.batch([0])[0].all()
