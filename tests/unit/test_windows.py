"""Training windows."""

import numpy as np
import pytest

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


def test_jitter_shifts_windows_within_their_part():
    sessions = [session(seed=0), session("b", 600, seed=1)]
    cut = windows(sessions, "val", window=30, stride=7)
    numbers = np.tile(np.arange(len(cut)), 200)
    _, plain = cut.batch(numbers)
    _, shifted = cut.batch(numbers, 4, np.random.default_rng(0))
    shifts = (shifted - plain)[0, :, 0]
    assert set(shifts) == set(range(-4, 5))
    np.testing.assert_array_equal(np.diff(shifted[:, :, 0], axis=0), 1)
    np.testing.assert_array_equal(np.floor(shifted[..., 1]), np.floor(plain[..., 1]))
    for seed, source in enumerate(sessions):
        steps = source.split("neurobench").val
        own = shifted[..., 0][np.floor(shifted[..., 1]) == seed]
        assert (own.min(), own.max()) == (steps.start, steps.stop - 1)


def test_jitter_is_reproducible():
    cut = windows([session()])
    first, second = (cut.batch(range(9), 5, np.random.default_rng(3))[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


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
    with pytest.raises(SessionError, match="session b: 3 channels in M1"):
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
