"""Binned sessions: what NeuroBench does not define, files, checksums, memory."""

import errno
import gc
import hashlib
import json
import operator
import os
import tracemalloc
from contextlib import nullcontext
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import spikereach
from session_files import random_session, write_session
from spikereach.config.sessions import Session
from spikereach.data.binning import BinnedSession, bin_columns, bin_session
from spikereach.data.errors import SessionError
from spikereach.files import WriteError
from spikereach.identity import array_checksum

THREE = Session("x", "monkey", {"M1": 2, "S1": 1})


@pytest.fixture
def path(tmp_path):
    return random_session(tmp_path / "a.mat", channels=3, steps=1200)


@pytest.fixture
def binned(path):
    return bin_session(path, THREE)


def assert_same(one, other):
    for name in ("spikes", "velocity", "position", "segments"):
        first, second = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(first, second)
        assert first.dtype == second.dtype
    for name in ("name", "monkey", "areas", "start_s", "provenance"):
        assert getattr(one, name) == getattr(other, name)


def session(segments, spikes=None, velocity=None):
    """A binned session of given segment bounds; it accelerates."""
    bounds = np.asarray(segments)
    steps = bounds[-1]
    if velocity is None:
        velocity = np.arange(2 * steps, dtype=np.float32).reshape(steps, 2)
    return BinnedSession(
        name="x",
        monkey="m",
        spikes=np.ones((steps, 1), np.uint8) if spikes is None else spikes,
        velocity=velocity,
        position=np.zeros((steps, 2), np.float32),
        areas=("M1",),
        start_s=0.0,
        segments=np.stack([bounds[:-1], bounds[1:]], 1),
        provenance={"source": "a.mat"},
    )


@pytest.mark.parametrize(("unit", "refused"), [(1.0, False), (1000.0, True)])
def test_spikes_in_milliseconds_are_refused(tmp_path, unit, refused):
    times = unit * np.array([10.05, 10.1, 10.15])
    t, position = 10 + 0.004 * np.arange(50), np.arange(100.0).reshape(2, -1) ** 2
    path = write_session(tmp_path / "a.mat", [[times]], t, position, position)
    with pytest.raises(SessionError, match=r"3 of 3 .* in seconds") if refused else nullcontext():
        assert bin_session(path, Session("x", "m", {"M1": 1})).spikes.sum() == 3


@given(
    start=st.floats(-1e9, 1e9),
    count=st.integers(2, 400),
    seed=st.integers(0, 2**32 - 1),
)
def test_bins_equal_numpys_histogram(start, count, seed):
    edges = np.arange(start, start + (count - 0.5) * 0.004, 0.004)
    rng = np.random.default_rng(seed)
    times = np.concatenate([edges, np.nextafter(edges, -np.inf), rng.choice(edges, 5) + 1e-9])
    times = np.sort(np.concatenate([times, rng.uniform(start - 1, edges[-1] + 1, 50)]))
    counts = np.bincount(bin_columns(times, edges) - 1, minlength=len(edges) - 1)
    np.testing.assert_array_equal(counts, np.histogram(times, edges)[0])


def test_no_spikes_fall_into_no_bins():
    assert bin_columns(np.empty(0), np.arange(3.0)).size == 0


@pytest.mark.parametrize("step", [1, 7, 49])
def test_a_step_holds_the_spikes_from_8_to_4_ms_before_its_sample(tmp_path, step):
    t = 10 + 0.004 * np.arange(50)
    times = t[step] - np.array([0.0079, 0.0041])
    positions = np.arange(100.0).reshape(2, -1) ** 2
    path = write_session(tmp_path / "a.mat", [[times[:1], times[1:]]], t, positions, positions)
    spikes = bin_session(path, Session("x", "m", {"M1": 2})).spikes
    assert np.argwhere(spikes).tolist() == [[step, 0], [step, 1]]


def test_provenance(path, binned):
    assert binned.provenance["source"] == "a.mat"
    assert binned.provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert binned.provenance["spikereach"] == spikereach.__version__
    assert binned.provenance["bin_width_s"] == 0.004


def test_a_clock_too_late_to_count_steps_of_4_ms_is_refused(tmp_path):
    path = random_session(tmp_path / "a.mat", channels=1, steps=60000, start=1.7e9)
    with pytest.raises(SessionError, match=r"t: starts at 1700000000.0 s; let t start near 0"):
        bin_session(path, Session("a", "rex", {"M1": 1}))


def test_spikes_outside_the_recording_are_counted(tmp_path):
    t = 10 + 0.004 * np.arange(50)
    positions = np.arange(100.0).reshape(2, -1) ** 2
    spikes = [[[9.0, 10.1, 10.15, 10.16, 11.0]]]
    path = write_session(tmp_path / "a.mat", spikes, t, positions, positions)
    binned = bin_session(path, Session("x", "m", {"M1": 1}))
    assert binned.provenance["spikes_outside_t"] == 2
    assert binned.spikes.sum() == 3


def test_areas_follow_the_file(binned):
    assert binned.areas == ("M1", "M1", "S1")
    assert binned.channels(["S1"]).tolist() == [2]
    assert binned.channels(["M1"]).tolist() == [0, 1]
    assert binned.channels(["S1", "M1"]).tolist() == [0, 1, 2]


def test_an_area_the_session_lacks(path):
    binned = bin_session(path, Session("x", "m", {"M1": 3}))
    assert binned.channels(["M1", "S1"]).tolist() == [0, 1, 2]
    with pytest.raises(SessionError, match="session x: no channel in S1, only in M1"):
        binned.channels(["S1"])


def test_a_wrong_number_of_channels(path):
    with pytest.raises(SessionError, match=r"a\.mat: spikes: has 3 channels, session x has 4"):
        bin_session(path, Session("x", "m", {"M1": 4}))


def test_channel_names_of_another_area(tmp_path):
    path = random_session(
        tmp_path / "a.mat", channels=3, steps=100, names=["S1 001", "M1 001", "M1 002"]
    )
    with pytest.raises(SessionError, match="chan_names: channel 0 is named 'S1 001'"):
        bin_session(path, THREE)
    assert bin_session(path, Session("x", "m", {"S1": 1, "M1": 2})).areas == ("S1", "M1", "M1")


def test_positions_beyond_float32(tmp_path):
    t = 10 + 0.004 * np.arange(50)
    positions = np.full((2, 50), 1e300)
    path = write_session(tmp_path / "a.mat", [[[10.1]]], t, positions, positions)
    with pytest.raises(SessionError, match="cursor_pos: exceeds the range of float32"):
        bin_session(path, Session("x", "m", {"M1": 1}))


KNOWN = {
    "samples": ("t", 1200, "samples"),
    "segments": ("target_pos", 30, "segments"),
    "test_steps": ("target_pos", 321, "steps of the test part"),
}
"""Of the file of `path`: a new target every 40 steps, and eight of 30 segments in the test, which
begins at the last sample before its first target."""


@pytest.mark.parametrize("known", KNOWN)
def test_what_is_known_of_a_file_is_a_checksum(path, binned, known):
    field, number, what = KNOWN[known]
    assert_same(bin_session(path, replace(THREE, **{known: number})), binned)
    other = replace(THREE, **{known: number + 1})
    problem = rf"a\.mat: {field}: gives {number} {what}, known of x are {number + 1}; fetch the"
    with pytest.raises(SessionError, match=problem):
        bin_session(path, other)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), shape=st.sampled_from([(6,), (6, 1), (2, 3)]))
def test_spikes_out_of_order_are_sorted_and_counted(tmp_path_factory, order, shape):
    path = tmp_path_factory.mktemp("order") / "a.mat"
    t, position = 10 + 0.004 * np.arange(50), np.arange(100.0).reshape(2, -1) ** 2

    def binned(times):
        write_session(path, [[times], [[10.19]]], t, position, position)
        return bin_session(path, Session("x", "m", {"M1": 1}))

    times = 10.05 + 0.01 * np.arange(6)
    sound, found = binned(times), binned(times[order].reshape(shape))
    np.testing.assert_array_equal(found.spikes, sound.spikes)
    assert sound.provenance["spikes_out_of_order"] == 0
    back = sum(map(operator.gt, order, order[1:]))
    assert found.provenance["spikes_out_of_order"] == back


@given(
    lengths=st.lists(st.integers(2, 30), min_size=4, max_size=300),
    scheme=st.sampled_from(["neurobench", "liu2024"]),
)
def test_the_parts_tile_the_recording(lengths, scheme):
    cut = session([0, *np.cumsum(lengths)])
    try:
        split = cut.split(scheme)
    except SessionError:  # a few short segments before a long test part
        assume(False)
    assert [*split.train, *split.val, *split.test] == list(range(sum(lengths)))
    bounds = {split.test.start} if scheme == "liu2024" else {split.val.start, split.test.start}
    assert bounds <= set(cut.segments[:, 0])
    assert split.test == cut.split("neurobench").test
    if scheme == "liu2024":
        assert len(split.val) == round(sum(lengths) * 0.1 / 0.75)


def test_the_published_division_of_a_recording_by_steps():
    """Steps that the code of Liu et al. printed for a recording of 41,000 steps."""
    split = session([0, 10000, 20500, 31374, 41000]).split("liu2024")
    assert (len(split.train), len(split.val), len(split.test)) == (25907, 5467, 9626)


@pytest.mark.parametrize(
    ("scheme", "segments"), [("neurobench", 1), ("neurobench", 2), ("liu2024", 1)]
)
def test_a_part_without_steps(scheme, segments):
    with pytest.raises(SessionError, match=rf"session x: the \w+ part of split '{scheme}' has no"):
        session(range(0, 10 * segments + 1, 10)).split(scheme)


def test_a_segment_without_steps_is_no_part():
    """A target that changes at the very first sample gives NeuroBench an empty first segment."""
    with pytest.raises(SessionError, match="the train part"):
        session([0, 0, 10, 20]).split("neurobench")


@pytest.mark.parametrize(("part", "start", "stop"), [("train", 0, 20), ("val", 20, 30)])
def test_a_part_without_spikes(part, start, stop):
    spikes = np.ones((40, 1), np.uint8)
    spikes[start:stop] = 0
    cut = session(range(0, 41, 10), spikes)
    with pytest.raises(SessionError, match=rf"the {part} part .* has no spikes; .*a\.mat"):
        cut.split("neurobench")


STEPS = 200
STILL = {
    "constant": np.full(STEPS, 7.25),
    "of constant velocity": np.arange(STEPS) / 4,
    "constant in float32": 1e9 + np.random.default_rng(0).uniform(0, 1, STEPS),
}
"""Coordinates that cannot be decoded: neither standardised nor scored by R2."""


@pytest.mark.parametrize("still", STILL.values(), ids=STILL)
@pytest.mark.parametrize("which", ["x", "y", "x and y"])
def test_movement_in_fewer_than_two_dimensions_is_refused(tmp_path, still, which):
    t = 10 + 0.004 * np.arange(STEPS)
    moving = np.random.default_rng(1).normal(size=(2, STEPS)).cumsum(axis=1)
    cursor = np.stack([still if name in which else moving["xy".index(name)] for name in "xy"])
    path = write_session(tmp_path / "a.mat", [[t[5:-5]]], t, cursor, moving)
    with pytest.raises(
        SessionError, match=rf"a\.mat: cursor_pos: .* {which} never varies"
    ) as caught:
        bin_session(path, Session("x", "m", {"M1": 1}))
    assert "two dimensions" in str(caught.value)


@pytest.mark.parametrize(("part", "start", "stop"), [("train", 0, 20), ("val", 20, 30)])
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_part_that_is_still_in_one_coordinate(part, start, stop, value):
    velocity = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    velocity[start:stop, 1] = value
    cut = session(range(0, 41, 10), velocity=velocity)
    with pytest.raises(SessionError, match=rf"the {part} part .* of y never varies.* cursor_pos"):
        cut.split("neurobench")


@given(
    velocity=arrays(np.float32, (12, 2), elements=st.sampled_from([0, 1, 2.5])),
)
def test_a_split_is_of_parts_that_can_be_standardised_and_scored(velocity):
    """Both divide by the variance."""
    cut = session([0, 3, 6, 9, 12], velocity=velocity)
    parts = {"train": velocity[:6], "val": velocity[6:9], "test": velocity[9:]}
    varies = {name: (part.astype(float).var(axis=0) > 1e-12).all() for name, part in parts.items()}
    if all(varies.values()):
        cut.split("neurobench")
    else:
        with pytest.raises(SessionError, match="never varies"):
            cut.split("neurobench")


@pytest.mark.parametrize("channels", [1, 3, 8, 9])
def test_files_keep_everything(tmp_path, channels):
    source = random_session(tmp_path / "a.mat", channels=channels, steps=501)
    binned = bin_session(source, Session("x", "monkey", {"M1": channels}))
    binned.save(tmp_path / "a.h5")
    assert_same(BinnedSession.load(tmp_path / "a.h5"), binned)


def test_files_are_small_and_equal_byte_by_byte(tmp_path):
    source = random_session(tmp_path / "a.mat", channels=96, steps=20_000)
    binned = bin_session(source, Session("x", "monkey", {"M1": 96}))
    binned.save(tmp_path / "a.h5")
    binned.save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.h5").stat().st_size < binned.spikes.nbytes / 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.mat", "b.h5"]


@pytest.mark.parametrize("name", ["spikes", "position", "segments"])
def test_changed_content_fails_its_checksum(tmp_path, binned, name):
    path = tmp_path / "a.h5"
    binned.save(path)
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        values[3, 0] += 1
        file[name][...] = values
    with pytest.raises(SessionError, match=r"a\.h5: content: does not match its checksum; delete"):
        BinnedSession.load(path)


def test_a_changed_header_fails_its_checksum(tmp_path, binned):
    path = tmp_path / "a.h5"
    binned.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["header"] = file.attrs["header"].replace("a.mat", "b.mat")
    with pytest.raises(SessionError, match="does not match its checksum"):
        BinnedSession.load(path)


@pytest.mark.parametrize("start", [0.0, 10.0, 873.1234567891])
def test_the_time_of_a_step_is_that_of_its_sample(tmp_path, start):
    """On the clock of the file, from which a sample may be half a step off."""
    source = random_session(tmp_path / "a.mat", channels=3, steps=1200, start=start)
    with h5py.File(source, "r+") as file:
        file["t"][0, 1:] += np.random.default_rng(0).uniform(-0.0019, 0.0019, 1199)
        t = file["t"][0]
    binned = bin_session(source, THREE)
    assert binned.start_s == t[0]
    assert np.abs(binned.time_s - t).max() < 0.002
    binned.save(tmp_path / "a.h5")
    np.testing.assert_array_equal(BinnedSession.load(tmp_path / "a.h5").time_s, binned.time_s)


def test_a_file_that_lacks_the_time_is_to_be_made_again(tmp_path, binned):
    path = tmp_path / "a.h5"
    binned.save(path)
    with h5py.File(path, "r+") as file:
        fields = json.loads(file.attrs["header"])
        del fields["start_s"]
        content = {name: file[name][()] for name in ("spikes", "position", "segments")}
        file.attrs["header"] = json.dumps(fields, sort_keys=True)
        file.attrs["sha256"] = array_checksum(content, file.attrs["header"])
    with pytest.raises(SessionError, match=r"has no start_s: .* bin the session again"):
        BinnedSession.load(path)


def test_missing_binned_sessions(tmp_path):
    with pytest.raises(SessionError, match=r"a\.h5: does not exist; .* bin the session first"):
        BinnedSession.load(tmp_path / "a.h5")


def test_a_full_disk_leaves_the_earlier_file(tmp_path, binned, monkeypatch):
    path = tmp_path / "a.h5"
    path.write_text("earlier")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"a\.h5: cannot be written \(No space left"):
        binned.save(path)
    assert path.read_text() == "earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.mat"]


def test_a_file_in_place_of_the_folder(tmp_path, binned):
    (tmp_path / "none").write_text("a file")
    with pytest.raises(WriteError, match="cannot be written"):
        binned.save(tmp_path / "none" / "a.h5")


def test_peak_memory_is_below_twice_the_binned_array(tmp_path):
    source = random_session(tmp_path / "a.mat", channels=96, steps=60_000)
    session = Session("x", "monkey", {"M1": 96})
    gc.collect()
    tracemalloc.start()
    try:
        binned = bin_session(source, session)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert binned.spikes.nbytes == 96 * 60_000
    assert peak < 2 * binned.spikes.nbytes
