"""Binning, velocities, segments and split against NeuroBench's own dataset class."""

import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neurobench.datasets.primate_reaching import PrimateReaching

from session_files import random_session, write_session
from spikereach.config.sessions import Session
from spikereach.data.binning import bin_session


def oracle(path) -> PrimateReaching:
    """NeuroBench's reading of the file; the name must hold "indy" or "loco"."""
    return PrimateReaching(
        str(path.parent),
        path.name,
        num_steps=1,
        train_ratio=0.5,
        biological_delay=0,
        stride=0.004,
        bin_width=0.004,
        split_num=1,
        download=False,
    )


def assert_equal(path, channels):
    """Every element equal; returns both for further checks."""
    binned = bin_session(path, Session("x", "monkey", {"M1": channels}))
    expected = oracle(path)
    steps, _ = binned.spikes.shape
    assert expected.samples.shape[1] in (steps, steps + 1)  # rounding may add a column
    np.testing.assert_array_equal(binned.spikes, expected.samples.numpy()[:, :steps].T)
    np.testing.assert_array_equal(binned.velocity, expected.labels.numpy().T)
    assert binned.velocity.dtype == np.float32
    np.testing.assert_array_equal(binned.segments, expected.time_segments)
    return binned, expected


def assert_same_split(binned, expected):
    split = binned.split("neurobench")
    assert list(split.train) == expected.ind_train
    assert list(split.val) == expected.ind_val
    assert list(split.test) == expected.ind_test


def test_the_real_recording(shared, tmp_path):
    path = tmp_path / "indy_chewie.mat"
    shutil.copy(shared / "recordings" / "chewie_20131003_01.mat", path)
    binned, expected = assert_equal(path, 174)
    assert_same_split(binned, expected)
    assert binned.spikes.sum() > 10_000


@pytest.mark.parametrize(("monkey", "channels"), [("indy", 96), ("loco", 192)])
@pytest.mark.parametrize("start", [4.0, 97.412, 1234.5678])
def test_sessions_of_both_monkeys(tmp_path, monkey, channels, start):
    path = random_session(
        tmp_path / f"{monkey}_x.mat", channels=channels, steps=3001, units=4, start=start
    )
    binned, expected = assert_equal(path, channels)
    assert_same_split(binned, expected)


def cell(times, shape):
    even = len(times) % 2 == 0
    return np.reshape(times, shape if even and times else (1, -1))


@st.composite
def recordings(draw):
    """Small recordings whose spikes prefer the places where binning can go wrong."""
    steps = draw(st.integers(10, 60))
    start = draw(st.one_of(st.floats(0.01, 5000), st.integers(1, 2000).map(float)))
    t = start + 0.004 * np.arange(steps)
    edges = np.arange(t[0] - 0.004, t[-1], 0.004)
    exact = st.sampled_from([*edges, *t])
    beside = st.builds(np.nextafter, exact, st.sampled_from([-np.inf, np.inf]))
    anywhere = st.floats(t[0] - 0.02, t[-1] + 0.02)
    times = st.lists(st.one_of(exact, beside, anywhere), max_size=6)
    shape = draw(st.sampled_from([(1, -1), (-1, 1), (2, -1)]))  # of all cells that allow it
    units, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    spikes = [[cell(draw(times), shape) for _ in range(channels)] for _ in range(units)]
    spikes.append([list(t)] * channels)  # keeps most spikes within the recording
    if draw(st.booleans()):
        spikes = [[np.float32(times) for times in unit] for unit in spikes]
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    cursor = rng.uniform(-300, 300, (2, steps))
    target = rng.choice([0.0, -0.0, 15.0], (2, steps))
    return spikes, t, cursor, target


@settings(max_examples=100, deadline=None)
@given(recording=recordings())
def test_random_recordings(tmp_path_factory, recording):
    """Spike times in any order and shape."""
    path = tmp_path_factory.mktemp("session") / "indy_x.mat"
    write_session(path, *recording, compression=None)
    binned, expected = assert_equal(path, len(recording[0][0]))
    try:
        split = binned.split("neurobench")
    except ValueError:
        parts = (expected.ind_train, expected.ind_val, expected.ind_test)
        moves = [np.ptp(binned.velocity[part], axis=0).all() for part in parts if len(part)]
        assert not all([*moves, *(binned.spikes[part].any() for part in parts)])
    else:
        assert_same_split(binned, expected)
        assert len(split.test) > 0


def test_cells_in_chunks_and_a_clock_the_other_way_round(tmp_path):
    """As MATLAB stores large cell arrays, and rows; positions that lie so NeuroBench refuses."""
    cells = {"chunks": (1, 40), "compression": "gzip", "shuffle": True}
    path = random_session(tmp_path / "indy_x.mat", channels=96, steps=400, cells_as=cells)
    with h5py.File(path, "r+") as file:
        t = file["t"][()].T
        del file["t"]
        file["t"] = t
    assert_equal(path, 96)


@pytest.mark.parametrize(
    ("dimensions", "read"), [((0, 0), [0]), ((0, 1), [0, 1]), ((1, 0), [0, 1])]
)
def test_empty_cells_hold_no_spikes(tmp_path, dimensions, read):
    """NeuroBench takes the two dimensions with which MATLAB marks an empty cell for spike times,
    visible only in a recording that runs through 0 or 1 s."""
    t = -0.02 + 0.004 * np.arange(300)
    spikes = [[[], [-0.005, 0.009]]]
    positions = np.arange(600.0).reshape(2, -1) ** 2
    path = write_session(tmp_path / "indy_x.mat", spikes, t, positions, positions)
    with h5py.File(path, "r+") as file:
        file["#refs#/unit0channel0"][...] = dimensions
    binned = bin_session(path, Session("x", "monkey", {"M1": 2}))
    expected = oracle(path).samples.numpy()[:, :300].T
    np.testing.assert_array_equal(binned.spikes[:, 1], expected[:, 1])
    assert not binned.spikes[:, 0].any()
    seconds = [t[step] for step in np.flatnonzero(expected[:, 0])]
    np.testing.assert_allclose(seconds, sorted({*dimensions}), atol=0.0081)
