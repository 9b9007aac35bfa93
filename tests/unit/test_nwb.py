"""NWB files become the sessions that they hold, and sessions NWB files."""

import json
import re
import shutil

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, TimeSeries
from typer.testing import CliRunner

import nwb_files
from nwb_files import add_electrodes, add_series, add_units, poisson, recording, save, wiggle
from session_files import random_session
from session_files import read as fields_of
from spikereach import cli, load_session
from spikereach.config import Config, Nwb, read
from spikereach.config.sessions import Session, find
from spikereach.data import sources
from spikereach.data.binning import bin_session
from spikereach.data.errors import SessionError
from spikereach.data.nwb import opening, resampling, series
from spikereach.data.nwb.channels import area_of
from spikereach.data.nwb.reading import to_session_file
from spikereach.data.nwb.series import unit_of
from spikereach.data.nwb.writing import add_velocity, times_of, to_nwb
from spikereach.workflow.plan import Plan

ARRAYS = ("spikes", "velocity", "position", "segments")


@pytest.fixture(scope="session")
def rtt(tmp_path_factory):
    """The train file of the benchmark's stand-in, and its test file."""
    return nwb_files.mc_rtt(tmp_path_factory.mktemp("000129"))


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A small NWB file at 250 Hz."""
    return nwb_files.simple(tmp_path_factory.mktemp("small") / "small.nwb")


def as_session(path, out, areas=None, **options):
    """The binned session of an NWB file."""
    to_session_file(path, areas, Nwb(**options), out)
    return bin_session(out, Session(path.stem, "m", areas or {"M1": fields_count(out)}))


def fields_count(path):
    with h5py.File(path) as file:
        return file["spikes"].shape[1]


def equal(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)


# ---- There and back ---------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["even", "uneven"])
def test_a_session_file_comes_back_with_equal_bins(clock, tmp_path):
    options = {
        "channels": 6,
        "steps": 3000,
        "names": [f"M1 {n:03d}" for n in range(4)] + ["S1 1", "S1 2"],
    }
    path = random_session(tmp_path / "a_20160622_01.mat", **options)
    if clock == "uneven":
        with h5py.File(path, "a") as file:
            file["t"][0, 5:-5] += np.random.default_rng(0).uniform(-0.0015, 0.0015, 2990)
    session = Session("a_20160622_01", "rex", {"M1": 4, "S1": 2})
    to_nwb(path, session, nwb_files.START, tmp_path / "a.nwb")
    to_session_file(tmp_path / "a.nwb", session.areas, Nwb(), tmp_path / "back.mat")
    there, back = bin_session(path, session), bin_session(tmp_path / "back.mat", session)
    assert equal(there, back)
    assert there.start_s == back.start_s
    one, other = fields_of(path), fields_of(tmp_path / "back.mat")
    assert one.names == other.names
    for name in ("t", "cursor_pos", "target_pos"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert all(np.array_equal(*both) for both in zip(one.spikes, other.spikes, strict=True))
    with NWBHDF5IO(tmp_path / "a.nwb", "r") as file:
        assert (file.read().processing["behavior"]["Position"]["cursor_pos"].rate is None) == (
            clock == "uneven"
        )


@pytest.mark.parametrize("name", ["chewie_20131003_01"])
def test_a_real_recording_comes_back_with_equal_bins(name, shared, tmp_path):
    path = shared / "recordings" / f"{name}.mat"
    session = Session(name, "chewie", {"M1": 174})
    to_nwb(path, session, nwb_files.START, tmp_path / "a.nwb")
    to_session_file(tmp_path / "a.nwb", session.areas, Nwb(), tmp_path / "back.mat")
    assert equal(bin_session(path, session), bin_session(tmp_path / "back.mat", session))


def test_areas_of_any_name_come_back(tmp_path):
    path = random_session(tmp_path / "a.mat", channels=4, steps=3000, names=list("abcd"))
    session = Session("a", "rex", {"M1/S1": 2, "M1:2": 1, ".": 1})
    to_nwb(path, session, nwb_files.START, tmp_path / "a.nwb")
    to_session_file(tmp_path / "a.nwb", session.areas, Nwb(), tmp_path / "back.mat")
    assert equal(bin_session(path, session), bin_session(tmp_path / "back.mat", session))


def test_a_unit_that_is_no_length_comes_back(tmp_path):
    nwb = recording()
    add_electrodes(nwb, ["M1"])
    add_units(nwb, poisson(1, 0, 40), [0])
    add_series(nwb, "cursor_pos", wiggle(np.arange(10000) / 250), "pixels", rate=250.0)
    there = as_session(save(nwb, tmp_path / "a.nwb"), tmp_path / "a.mat")
    session = Session("a", "rex", {"M1": 1})
    to_nwb(tmp_path / "a.mat", session, nwb_files.START, tmp_path / "b.nwb")
    back = as_session(tmp_path / "b.nwb", tmp_path / "b.mat")
    assert equal(there, back)
    assert back.provenance["nwb"]["unit"] == there.provenance["nwb"]["unit"] == "pixels"


def test_the_inspector_finds_nothing_critical(tmp_path):
    from nwbinspector import Importance, inspect_nwbfile

    path = random_session(tmp_path / "a_20160622_01.mat", channels=3, steps=2000)
    to_nwb(path, Session("a", "rex", {"M1": 3}), nwb_files.START, tmp_path / "a.nwb")
    critical = Importance.CRITICAL
    assert (
        list(inspect_nwbfile(nwbfile_path=tmp_path / "a.nwb", importance_threshold=critical)) == []
    )


# ---- The benchmark's file -----------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["cursor_pos", "finger_pos", "finger_vel"])
def test_the_benchmarks_train_file(behaviour, rtt, tmp_path):
    found = as_session(
        rtt[0], tmp_path / "a.mat", {"M1": 13}, behaviour=behaviour, channels="units"
    )
    assert found.spikes.shape == (6000, 13)
    # The movement is known in closed form; slow as it is, the filter and the sums change little.
    times = np.arange(6000) * 0.004
    expected = np.gradient(nwb_files.wiggle(times), axis=0)
    scale = np.abs(expected).max()
    inner = slice(50, -50)
    np.testing.assert_allclose(found.velocity[inner], expected[inner], atol=0.005 * scale)
    told = found.provenance["nwb"]
    assert told["resampled"] == ["from 1000 Hz by a low-pass (100 to 125 Hz), one sample of 4"]
    assert told["kind"] == ("velocity" if behaviour == "finger_vel" else "position")
    assert told["segments"] == "changes of behavior/target_pos"
    assert len(found.segments) == 16
    # A target appears at 1.5 s; its segment begins at the sample before.
    assert found.segments[1, 0] == 374


def test_a_clock_that_counts_from_1970_gives_the_same_bins(tmp_path):
    made = [
        as_session(
            nwb_files.simple(
                tmp_path / f"{start}.nwb", seconds=80.0, rate=250.0, starting_time=start
            ),
            tmp_path / f"{start}.mat",
        )
        for start in (0.0, 1.7e9)
    ]
    unlike = np.count_nonzero(made[0].spikes != made[1].spikes)
    assert unlike <= 4  # such a clock has steps of 0.24 us
    assert made[1].start_s == 0.0
    assert made[1].provenance["nwb"]["stretches"] == [[0, 1.7e9]]


def test_a_movement_is_read_piece_by_piece(rtt, tmp_path, monkeypatch):
    options = {"behaviour": "cursor_pos", "channels": "units"}
    whole = as_session(rtt[0], tmp_path / "a.mat", {"M1": 13}, **options)
    monkeypatch.setattr(series, "PIECE", 1000)
    monkeypatch.setattr(resampling, "BLOCK", 1000)
    asked, values = [], series.Series.values

    def counted(self, begin, end):
        if self.path.endswith("cursor_pos"):
            asked.append(end - begin)
        return values(self, begin, end)

    monkeypatch.setattr(series.Series, "values", counted)
    found = as_session(rtt[0], tmp_path / "b.mat", {"M1": 13}, **options)
    assert max(asked) <= 1000 + resampling.low_pass(1000).size
    np.testing.assert_allclose(found.velocity, whole.velocity, atol=1e-5)


def test_the_benchmarks_test_file_has_no_behaviour(rtt, tmp_path):
    with pytest.raises(SessionError, match="no time series at all; give the file with the move"):
        as_session(rtt[1], tmp_path / "a.mat", {"M1": 13})


def test_a_file_describes_itself(rtt):
    found = load_session(rtt[0])
    assert (found.monkey, set(found.areas), found.spikes.shape[1]) == ("Indy", {"M1"}, 13)


# ---- Units, clocks, kinds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "length", "per_s", "session"),
    [
        ("meters", 1000, None, "mm"), ("m", 1000, None, "mm"), ("Centimeters", 10, None, "mm"),
        ("mm", 1, None, "mm"), ("millimetres", 1, None, "mm"), ("inches", 25.4, None, "mm"),
        ("m/s", 1000, 1, "mm"), ("cm/s", 10, 1, "mm"), ("mm / ms", 1, 1000, "mm"),
        ("meters per second", 1000, 1, "mm"), ("mm s^-1", 1, 1, "mm"), ("mm*s-1", 1, 1, "mm"),
        ("pixels", None, None, "pixels"), ("pixels/s", None, 1, "pixels"),
        ("\u00b5m", 1e-3, None, "mm"), ("\u03bcm/s", 1e-3, 1, "mm"),
        ("", None, None, "unstated"), ("a.u.", None, None, "a.u."),
    ],
)  # fmt: skip
def test_units_as_nwb_states_them(text, length, per_s, session):
    found = unit_of(text)
    assert (found.length, found.per_s, found.session) == (length, per_s, session)


@pytest.mark.parametrize(
    ("unit", "factor", "clock"),
    [
        ("cm", {"conversion": 1.0}, {"rate": 250.0, "starting_time": 2.0}),
        ("m", {"conversion": 0.01, "offset": 0.5}, {"rate": 1000.0, "starting_time": 2.0}),
        ("mm", {"conversion": 10.0}, {"timestamps": 2 + np.arange(4000) / 100}),
    ],
)
def test_conversion_offset_and_unit_lead_to_millimetres(unit, factor, clock, tmp_path):
    rate = clock.get("rate", 100.0)
    times = 2 + np.arange(int(40 * rate)) / rate
    nwb = recording()
    add_units(nwb, poisson(3, 2, 42))
    add_series(nwb, "hand_pos", wiggle(times) / 10, unit, **factor, **clock)
    found = as_session(
        save(nwb, tmp_path / "a.nwb"), tmp_path / "a.mat", {"M1": 3}, locations={"*": "M1"}
    )
    shift = 500.0 if "offset" in factor else 0.0
    expected = wiggle(2 + 0.004 * np.arange(len(found.position))) + shift
    np.testing.assert_allclose(found.position[30:-30], expected[30:-30], atol=0.15)
    assert found.start_s == 2.0
    assert found.provenance["nwb"]["segments"] == "one per second"
    assert np.array_equal(np.diff(found.segments[:, 0])[1:-1], [250] * 37)


def test_velocity_is_summed_to_a_position(tmp_path):
    """Until it is a velocity again: central differences of a trapezoidal sum are its mean over
    three samples, weighted 1, 2, 1."""
    rng = np.random.default_rng(0)
    velocity = rng.normal(size=(10000, 2))
    nwb = recording()
    add_units(nwb, poisson(3, 0, 40))
    add_series(nwb, "hand_vel", velocity, "cm/s", kind=TimeSeries, rate=250.0, starting_time=0.0)
    nwb.add_trial(0.0, 10.0)
    nwb.add_trial(10.0, 25.0)
    nwb.add_trial(25.0, 40.0)
    found = as_session(
        save(nwb, tmp_path / "a.nwb"), tmp_path / "a.mat", {"M1": 3}, locations={"*": "M1"}
    )
    expected = 10 * 0.004 * (velocity[:-2] + 2 * velocity[1:-1] + velocity[2:]) / 4
    np.testing.assert_allclose(found.velocity[1:-1], expected, atol=1e-5)
    assert found.segments.tolist() == [[0, 2499], [2499, 6249], [6249, 10000]]


@pytest.mark.parametrize(("joined", "expected"), [("electrodes", 3), ("units", 4), (None, 3)])
def test_units_of_an_electrode_are_one_channel_or_several(joined, expected, tmp_path):
    nwb = recording()
    add_electrodes(nwb, ["S1, area 2", "Primary motor cortex", "hippocampus", "M1"])
    times = poisson(5, 0, 40)
    add_units(nwb, times, [1, 1, 0, 2, 3])
    t = np.arange(10000) / 250
    add_series(nwb, "cursor_pos", wiggle(t), rate=250.0, starting_time=0.0)
    areas = {"M1": expected - 1, "S1": 1}
    found = as_session(save(nwb, tmp_path / "a.nwb"), tmp_path / "a.mat", areas, channels=joined)
    assert found.areas == ("M1",) * (expected - 1) + ("S1",)
    binned = lambda *units: np.histogram(  # noqa: E731
        np.concatenate([times[n] for n in units]), np.arange(-0.004, 39.998, 0.004)
    )[0].astype(bool)
    one = found.spikes[1:, 0].astype(bool)
    assert np.array_equal(one, binned(0, 1)[:-1] if joined != "units" else binned(0)[:-1])
    assert found.provenance["nwb"]["units_left_out"] == {"hippocampus": 1}


@pytest.mark.parametrize(
    ("location", "mapping", "wanted", "area"),
    [
        ("M1", {}, None, "M1"), ("left M1, hand area", {}, None, "M1"),
        ("primary motor cortex", {}, {"M1": 1}, "M1"), ("dorsal premotor", {}, None, "PMd"),
        ("PMd/M1", {}, None, "PMd/M1"), ("PMd/M1", {"PMd/M1": "M1"}, None, "M1"),
        ("AIP", {}, None, "AIP"), ("AIP", {}, {"M1": 1}, None), ("AIP", {"*": "M1"}, None, "M1"),
        ("m1 LEFT", {}, {"M1 left": 1, "M1": 2}, "M1 left"), ("AM12", {}, {"M1": 1}, None),
        ("left_M1", {}, None, "M1"), ("PMd_R", {}, {"PMd": 1}, "PMd"),
        ("", {}, None, None),
    ],
)  # fmt: skip
def test_areas_of_locations(location, mapping, wanted, area):
    assert area_of(location, mapping, wanted) == area


# ---- Gaps ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def gappy(tmp_path_factory):
    """40 s at 250 Hz: nothing from 10 to 12 s, invalid from 20 to 21 s, units observed until 35 s,
    NaN at 30 s for 0.1 s."""
    t = np.arange(10000) / 250
    t = t[(t < 10) | (t >= 12)]
    cursor = wiggle(t)
    cursor[(t >= 30) & (t < 30.1)] = np.nan
    nwb = recording("indy")
    add_electrodes(nwb, ["M1"] * 6)
    add_units(nwb, poisson(6, 0, 40, rate=100.0), range(6), observed=[[0.0, 35.0]])
    add_series(nwb, "cursor_pos", cursor + np.array([100.0, -50.0]), timestamps=t)
    add_series(nwb, "target_pos", np.full((len(t), 2), 7.0), timestamps=t)
    nwb.add_invalid_time_interval(20.0, 21.0)
    return save(nwb, tmp_path_factory.mktemp("gappy") / "gappy.nwb")


def test_segments_begin_where_gaps_end(gappy, tmp_path):
    found = as_session(gappy, tmp_path / "a.mat")
    told = found.provenance["nwb"]
    starts = [step for step, _ in told["stretches"]]
    assert [round(start, 3) for _, start in told["stretches"]] == [0.0, 12.0, 21.0, 30.1]
    assert set(starts) <= set(found.segments[:, 0].tolist())
    times = times_of(told["stretches"], len(found.spikes))
    for first, end in found.segments:
        assert times[end - 1] - times[first] == pytest.approx(0.004 * (end - 1 - first), abs=1e-6)
    assert [
        (each["why"], round(each["start_s"]), round(each["stop_s"])) for each in told["left_out"]
    ] == [
        ("no samples of the behaviour", 10, 12),
        ("invalid_times", 20, 21),
        ("no samples of the behaviour", 30, 30),
        ("a unit is not observed", 35, 40),
    ]
    assert told["left_out_s"] == pytest.approx(2 + 1 + 0.1 + 5, abs=0.02)
    assert told["samples_without_value"] == 25


def test_the_movement_goes_on_at_a_gap(gappy, tmp_path):
    """Its velocity is that of the movement itself, whose position has jumped meanwhile; beside the
    gap, a quarter of the change over it is in either sample."""
    found = as_session(gappy, tmp_path / "a.mat")
    stretches = found.provenance["nwb"]["stretches"]
    times = times_of(stretches, len(found.spikes))
    true = (wiggle(times + 0.004) - wiggle(times - 0.004)) / 2
    seams = np.array([step for step, _ in stretches[1:]])
    last, next_ = times[seams - 1], times[seams]
    before, after = wiggle(last) - wiggle(last - 0.004), wiggle(next_ + 0.004) - wiggle(next_)
    true[seams - 1], true[seams] = before + (after - before) / 4, after - (after - before) / 4
    np.testing.assert_allclose(found.velocity[1:-1], true[1:-1], atol=1e-4)


def test_spikes_stay_in_their_stretch(gappy, tmp_path):
    """Each bin has the spikes of its own time on the file's clock, and none of a gap."""
    found = as_session(gappy, tmp_path / "a.mat")
    stretches = found.provenance["nwb"]["stretches"]
    times = times_of(stretches, len(found.spikes))
    first = np.array([step for step, _ in stretches])
    early = np.isin(np.arange(len(times)), np.concatenate([first, first + 1]))
    for channel, own in enumerate(poisson(6, 0, 40, rate=100.0)):
        low, high = own.searchsorted(times - 0.008), own.searchsorted(times - 0.004)
        assert np.array_equal(found.spikes[~early, channel], (low < high)[~early])
        assert not found.spikes[first, channel].any(), "their bins lie in gaps"


def test_equal_files_give_equal_session_files(small, tmp_path):
    for name in ("a.mat", "b.mat"):
        to_session_file(small, None, Nwb(), tmp_path / name)
    assert (tmp_path / "a.mat").read_bytes() == (tmp_path / "b.mat").read_bytes()


# ---- What is wrong ---------------------------------------------------------------------------


def _no_behaviour(file):
    del file["processing"]
    file.create_group("processing")


def _absent(name):
    def damage(file):
        del file[name]
        file[name] = h5py.ExternalLink("nowhere.nwb", "/there")

    return damage


def _in_samples(file):
    file["units/spike_times"][:] *= 30000


def _rate(value):
    def damage(file):
        file["processing/behavior/cursor_pos/starting_time"].attrs["rate"] = value

    return damage


def _version_1(file):
    del file.attrs["nwb_version"]
    file["nwb_version"] = "NWB-1.0.6"


def _alien(file):
    file.attrs["nwb_version"] = "2.0b"
    del file["units/spike_times_index"].attrs["target"]


def _one_column(file):
    del file["processing/behavior/cursor_pos/data"]
    file["processing/behavior/cursor_pos/data"] = np.zeros(10000)
    file["processing/behavior/cursor_pos/data"].attrs.update(unit="m", conversion=1.0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.pop("units"), "units: no unit with spike times; give the file with"),
        (_no_behaviour, "behaviour: none is named cursor_pos, .* no time series at all"),
        (_absent("processing/behavior/cursor_pos"), "cursor_pos is a link to nowhere.nwb, "),
        (_absent("processing/behavior/cursor_pos/data"), "a link to nowhere.nwb.*not there; put"),
        (_absent("units/spike_times"), "units/spike_times is a link to nowhere.nwb"),
        (_in_samples, "spikes lie outside the behaviour .* in seconds, not in samples"),
        (_rate(-250.0), "cursor_pos: has the rate -250.0; state samples per second"),
        (_rate(0.0), "cursor_pos: has the rate 0.0; state samples per second"),
        (_rate(1.0), "has 1 samples per second, .* in seconds, not in samples"),
        (_version_1, "is of NWB 1, which is not read: ask its makers for NWB 2"),
        (_alien, "cannot be read as NWB .*schema 2.0b, and pynwb is .*nwbinspector"),
        (_one_column, r"has the shape \(10000,\), without the columns"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_of_in_a_sentence(damage, message, small, tmp_path):
    path = shutil.copy(small, tmp_path / "bad.nwb")
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(SessionError, match=f"^{re.escape(str(path))}: .*{message}") as error:
        to_session_file(path, None, Nwb(), tmp_path / "out.mat")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.mat").exists()


@pytest.mark.parametrize(
    ("options", "areas", "message"),
    [
        (
            {"behaviour": "eye_pos"},
            None,
            "no time series is named eye_pos; the file has behavior/c",
        ),
        ({"columns": (0, 2)}, None, r"\(10000, 2\), without the columns \[0, 2\]"),
        ({}, {"M1": 5}, "the file has 4 M1 .*the session 5 M1; correct `areas`"),
        ({}, {"AIP": 4}, "the file has 0 AIP"),
    ],
)
def test_what_does_not_fit_the_file(options, areas, message, small, tmp_path):
    with pytest.raises(SessionError, match=message):
        to_session_file(small, areas, Nwb(**options), tmp_path / "out.mat")


def test_timestamps_are_checked(tmp_path):
    t = np.arange(4000) / 250
    for spoil, message in (
        (t[[*range(50), 48, *range(51, 4000)]], "do not increase at sample 50"),
        (np.where(t == t[9], np.nan, t), "timestamps that are NaN"),
        (t * 30000, "fewer than 10; state times in seconds, not in samples"),
    ):
        nwb = recording()
        add_units(nwb, poisson(1, 0, 16))
        add_series(nwb, "cursor_pos", wiggle(t), timestamps=spoil)
        with pytest.raises(SessionError, match=message):
            as_session(
                save(nwb, tmp_path / "a.nwb"), tmp_path / "a.mat", {"M1": 1}, locations={"*": "M1"}
            )


def test_a_target_may_have_one_sample(tmp_path):
    for times in ([0.5, 2.24, 30.0], [100.0, 101.0]):
        nwb = recording()
        add_electrodes(nwb, ["M1"])
        add_units(nwb, poisson(1, 0, 40), [0])
        add_series(nwb, "cursor_pos", wiggle(np.arange(10000) / 250), rate=250.0)
        data = np.arange(2.0 * len(times)).reshape(-1, 2)
        add_series(nwb, "target_pos", data, timestamps=np.array(times))
        path = save(nwb, tmp_path / "a.nwb")
        if len(times) == 3:
            found = as_session(path, tmp_path / "a.mat")
            assert found.segments[:, 0].tolist() == [0, 559, 7499]
        else:
            with pytest.raises(SessionError, match=r"target_pos: lies outside the behaviour"):
                as_session(path, tmp_path / "a.mat")


def test_invalid_times_have_a_start_and_then_an_end(tmp_path):
    for start, stop in ((30.0, np.nan), (30.0, 20.0), (30.0, 30.0)):
        nwb = recording()
        add_electrodes(nwb, ["M1"])
        add_units(nwb, poisson(1, 0, 40), [0])
        add_series(nwb, "cursor_pos", wiggle(np.arange(10000) / 250), rate=250.0)
        nwb.add_invalid_time_interval(start_time=start, stop_time=stop)
        path = save(nwb, tmp_path / "a.nwb")
        if start == stop:  # no time at all
            assert len(as_session(path, tmp_path / "a.mat").spikes) == 10000
        else:
            with pytest.raises(SessionError, match=r"invalid_times: .*ends before it starts"):
                as_session(path, tmp_path / "a.mat")


def test_a_lost_sample_does_not_make_a_series_faster(tmp_path):
    t = np.arange(10000) / 250
    for lost in (1, 2500, 7777):
        found = resampling.resample(np.delete(t, lost), lambda a, b: np.zeros((b - a, 2)))
        assert found.how == "from irregular times, usually at 250 Hz by a cubic spline"


def test_a_file_that_was_not_copied_whole(small, tmp_path):
    part = tmp_path / "part.nwb"
    part.write_bytes(small.read_bytes()[:30000])
    for command in (("check",), ("convert", part, tmp_path / "a.mat")):
        said = run(command[0], part, *command[2:], fails=True)
        assert "is damaged or was not copied whole" in " ".join(said.split())
    with pytest.raises(SessionError, match="is damaged or was not copied whole"):
        to_session_file(part, {"M1": 4}, Nwb(), tmp_path / "a.mat")
    assert "not exist" in run("convert", tmp_path / "no.nwb", tmp_path / "a.mat", fails=True)
    with h5py.File(tmp_path / "plain.nwb", "w") as file:
        file["a"] = 1
    assert "no version of NWB" in run("check", tmp_path / "plain.nwb", fails=True)


def test_other_files_are_no_nwb(tmp_path):
    (tmp_path / "a.nwb").write_text("no")
    with pytest.raises(SessionError, match=r"a\.nwb: is a text file, not an NWB file"):
        to_session_file(tmp_path / "a.nwb", None, Nwb(), tmp_path / "out.mat")
    path = random_session(tmp_path / "b.nwb", channels=1, steps=300)
    with pytest.raises(SessionError, match="is a session file, not an NWB file"):
        to_session_file(path, None, Nwb(), tmp_path / "out.mat")


def test_without_pynwb_a_sentence_says_how_to_get_it(small, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pynwb", None)
    with pytest.raises(SessionError, match=r"pip install 'spikereach\[nwb\]'"):
        opening.library()
    with pytest.raises(SessionError, match=r"needs the package pynwb"):
        to_session_file(small, None, Nwb(), tmp_path / "out.mat")


# ---- Sources and the command line -------------------------------------------------------------


@pytest.fixture(scope="module")
def paper(repository):
    return read(repository / "config.yaml")


def local(paper, folder, **entry):
    """A configuration with one session in a folder."""
    entry = {"monkey": "m", "areas": {"M1": 4}} | entry
    changes = {"source": "local", "folder": str(folder), "catalogue": {"mine": entry}}
    return Config.model_validate(paper.model_dump() | changes)


def test_a_local_nwb_file_is_read_as_a_session_file(small, paper, tmp_path):
    shutil.copy(small, tmp_path / "mine.nwb")
    source = sources.of(config := local(paper, tmp_path))
    session = find("mine", config.catalogue)
    source.fetch(session, target := tmp_path / "raw" / "mine.mat")
    assert equal(bin_session(target, session), as_session(small, tmp_path / "a.mat"))
    source.check(session, target)
    assert source.local_file(session) == tmp_path / "mine.nwb"
    assert source.steps(session) == 10000
    other = sources.of(local(paper, tmp_path, nwb={"behaviour": "target_pos"}))
    assert source.key(session) != other.key(session)
    with h5py.File(target, "a") as file:
        file["t"][0, 7] += 1e-4
    with pytest.raises(SessionError, match=r"is not what is read from .*mine\.nwb"):
        source.check(session, target)
    shutil.copy(target, tmp_path / "mine.mat")
    with pytest.raises(SessionError, match=r"mine\.nwb: lies beside mine\.mat"):
        source.local_file(session)


def test_a_file_is_named_by_its_path(small, paper, tmp_path):
    (tmp_path / "sub-M").mkdir()
    name = "sub-M/sub-M_desc+x.nwb"
    shutil.copy(small, tmp_path / name)
    config = local(paper, tmp_path, file=name)
    session = find("mine", config.catalogue)
    assert sources.of(config).local_file(session) == tmp_path / name
    shutil.copy(small, tmp_path / "A.NWB")  # a suffix in capitals
    source = sources.of(local(paper, tmp_path, file="A.NWB"))
    source.fetch(session, tmp_path / "made.mat")
    source.check(session, tmp_path / "made.mat")
    with pytest.raises(SessionError, match=r"nothing\.nwb: no such file.*catalogue\.mine\.file"):
        sources.of(local(paper, tmp_path, file="nothing.nwb")).local_file(session)


def test_the_benchmarks_preset_reads_the_stand_in(rtt, repository, tmp_path):
    folder = rtt[0].parent / "sub-Indy"
    folder.mkdir(exist_ok=True)
    (folder / rtt[0].name).symlink_to(rtt[0])
    (tmp_path / "few.yaml").write_text(
        f"folder: {rtt[0].parent}\ncatalogue: {{mc_rtt: {{areas: {{M1: 13}}}}}}\n"
    )
    preset = repository / "workflow" / "presets" / "dandi.yaml"
    plan = Plan(read(repository / "config.yaml", preset, tmp_path / "few.yaml"), lambda name: name)
    session = plan.session("mc_rtt")
    assert plan.all_sessions == ["mc_rtt"], "nothing of Zenodo is asked for"
    assert plan.fetch_inputs("mc_rtt") == {"local": str(folder / rtt[0].name)}
    plan.source.fetch(session, tmp_path / "mc_rtt.mat")
    binned = bin_session(tmp_path / "mc_rtt.mat", session)
    parts = vars(binned.split("neurobench")).values()
    assert [len(part) for part in parts] == [2999, 1500, 1501]


def run(*arguments, fails=False):
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert result.exit_code == int(fails), result.output
    return result.output


def test_convert_both_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_session("a_20160622_01.mat", channels=4, steps=4000)
    about = ("--monkey", "rex", "--areas", "M1=4")
    run("convert", "a_20160622_01.mat", "a.nwb", *about)
    run("convert", "a.nwb", "back.mat")
    assert equal(
        load_session("a_20160622_01.mat", monkey="rex", areas={"M1": 4}), load_session("a.nwb")
    )
    assert "are never written over" in run("convert", "a.nwb", "back.mat", fails=True)
    assert "ends in .nwb" in run("convert", "back.mat", "c.mat", *about, fails=True)
    assert "give --start" in run("convert", "back.mat", "c.nwb", *about, fails=True)
    assert "like 2016-06-22" in run(
        "convert", "back.mat", "c.nwb", *about, "--start", "x", fails=True
    )
    assert "of monkey rex" in run("check", "a.nwb")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.nwb",
        "a_20160622_01.mat",
        "back.mat",
    ]
    with NWBHDF5IO("a.nwb", "r") as file:
        nwb = file.read()
        assert nwb.session_start_time.date().isoformat() == "2016-06-22"
        assert nwb.subject.subject_id == "rex"


def test_decode_adds_to_a_copy(gappy, tmp_path, monkeypatch):
    from nwbinspector import Importance, inspect_nwbfile

    from spikereach import decode, load_checkpoint
    from spikereach.models import checkpoint
    from training_cases import checkpoint as tiny

    monkeypatch.chdir(tmp_path)
    checkpoint.save(tiny(), tmp_path / "tiny.safetensors")
    before = gappy.read_bytes()
    trust = ("--trust", "training_cases:TinyGRU")
    run("decode", "tiny.safetensors", gappy, "--out", "v.nwb", *trust)
    assert gappy.read_bytes() == before
    with NWBHDF5IO("v.nwb", "r") as file:
        nwb = file.read()
        found = nwb.processing["spikereach"]["decoded_velocity"]
        velocity, times = found.data[:] * found.conversion, found.timestamps[:]
        assert found.unit == "m/s"
        assert len(nwb.units) == 6
    session = load_session(gappy)
    expected = decode(load_checkpoint("tiny.safetensors", trust=trust[1:]), session)
    np.testing.assert_allclose(velocity, expected * 0.25, rtol=1e-6)
    assert np.array_equal(times, times_of(session.provenance["nwb"]["stretches"], len(expected)))
    critical = Importance.CRITICAL
    assert list(inspect_nwbfile(nwbfile_path="v.nwb", importance_threshold=critical)) == []
    for out, message in (("v.nwb", "never written over"), ("w.nwb", "has a module 'spikereach'")):
        assert message in run(
            "decode", "tiny.safetensors", "v.nwb", "--out", out, *trust, fails=True
        )
    random_session("a.mat", channels=3, steps=2000)
    assert "which a.mat is not" in run(
        "decode", "tiny.safetensors", "a.mat", "--out", "x.nwb", fails=True
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.mat", "tiny.safetensors", "v.nwb"]


def test_links_to_other_files_are_kept_in_a_copy(small, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(small, folder / "raw.nwb")
    shutil.copy(small, folder / "a.nwb")
    place = "processing/behavior/cursor_pos/data"
    with h5py.File(folder / "a.nwb", "a") as file:
        del file[place]
        file[place] = h5py.ExternalLink("raw.nwb", f"/{place}")
    (tmp_path / "linked.nwb").symlink_to(folder / "a.nwb")
    expected = as_session(small, tmp_path / "small.mat")
    about = {"unit": "mm", "stretches": [[0, 0.0]]}
    for copy in (folder / "b.nwb", tmp_path / "two" / "b.nwb"):
        add_velocity(tmp_path / "linked.nwb", np.zeros((10000, 2)), about, "nothing", copy)
        assert equal(as_session(copy, tmp_path / "b.mat"), expected)


def test_what_was_read_is_in_the_session_file(small, tmp_path):
    to_session_file(small, None, Nwb(), tmp_path / "a.mat")
    with h5py.File(tmp_path / "a.mat") as file:
        told = json.loads(file["nwb"][:].tobytes().decode("utf-16-le"))
    assert told["source"] == "small.nwb"
    assert told["resampled"] == ["taken as it is, at 250 Hz"]
