"""Synthetic sessions: file layout, calibration, and what a linear decoder finds in them."""

import json
import resource
from dataclasses import replace
from itertools import pairwise

import h5py
import numpy as np
import pytest
from neurobench.datasets import PrimateReaching
from scipy.linalg import solve

from spikereach.config.sessions import ZENODO, Session
from spikereach.data.errors import SessionError
from spikereach.data.synthetic import MEAN_SPIKES, generate
from spikereach.files import WriteError

SESSIONS = {
    f"synthetic_{monkey}_{n}": Session(f"synthetic_{monkey}_{n}", f"synthetic_{monkey}", areas)
    for monkey, areas in {"indy": {"M1": 96}, "loco": {"M1": 96, "S1": 96}}.items()
    for n in (1, 2, 3, 4)
}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes each session once: ``make(name, duration_s, seed)`` is the path of the file."""
    folder = tmp_path_factory.mktemp("synthetic")
    made = {}

    def make(name, duration_s=20.0, seed=0):
        key = (name, duration_s, seed)
        if key not in made:
            made[key] = folder / f"{len(made)}" / f"{name}.mat"
            made[key].parent.mkdir()
            generate(SESSIONS[name], made[key], duration_s=duration_s, seed=seed)
        return made[key]

    return make


def cells(file: h5py.File) -> list[list[np.ndarray]]:
    """Spike times by unit and channel, empty cells as MATLAB means them."""
    return [
        [np.empty(0) if file[ref].attrs.get("MATLAB_empty") else file[ref][0] for ref in row]
        for row in file["spikes"]
    ]


def neurobench(path) -> PrimateReaching:
    return PrimateReaching(
        str(path.parent),
        path.name,
        num_steps=1,
        train_ratio=0.5,
        bin_width=0.004,
        biological_delay=0,
        download=False,
    )


# Layout --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channels"), [("synthetic_indy_1", 96), ("synthetic_loco_1", 192)]
)
def test_layout(make, name, channels):
    path = make(name)
    assert path.read_bytes()[:10] == b"MATLAB 7.3"
    assert path.read_bytes()[124:128] == b"\x00\x02IM"
    with h5py.File(path) as file:
        assert "synthetic" in file.attrs["synthetic"]
        steps = file["t"].shape[1]
        assert steps == 20 * 250
        assert file["t"][0, 0] > 1
        np.testing.assert_allclose(np.diff(file["t"][0]), 0.004, atol=1e-9)
        assert file["cursor_pos"].shape == file["target_pos"].shape == (2, steps)
        assert file["finger_pos"].shape == (3, steps)
        # The fingertip is (z, -x, -y) in cm, the cursor (x, y) in mm.
        np.testing.assert_allclose(file["finger_pos"][1:], -file["cursor_pos"][()] / 10)
        assert file["spikes"].shape == (5, channels)
        names = ["".join(map(chr, file[ref][:, 0])) for ref in file["chan_names"][0]]
        assert [n.split()[0] for n in names] == ["M1"] * 96 + ["S1"] * (channels - 96)
        assert len(set(names)) == channels


def test_cells_look_like_those_of_the_recording(make, shared):
    """Types, ranks and attributes of full and empty cells, and of the fields."""

    def kinds(path):
        with h5py.File(path) as file:
            found = {name: (file[name].dtype, file[name].ndim) for name in file if name != "#refs#"}
            for ref in file["spikes"][()].ravel():
                cell = file[ref]
                attributes = {k: (v.dtype, v) for k, v in cell.attrs.items()}
                empty = "MATLAB_empty" in attributes
                shape = cell.shape if empty else (cell.shape[0], "n")
                found["empty" if empty else "cell"] = (cell.dtype, shape, attributes)
            return found

    recorded = kinds(shared / "recordings" / "chewie_20131003_01.mat")
    assert kinds(make("synthetic_loco_1")) == recorded


@pytest.mark.parametrize("name", ["synthetic_indy_2", "synthetic_loco_2"])
def test_spike_times(make, name):
    with h5py.File(make(name)) as file:
        first, last = file["t"][0, [0, -1]]
        units = [times for row in cells(file) for times in row]
    filled = [times for times in units if times.size]
    assert 0.3 < len(filled) / len(units) < 0.8
    for times in filled:
        assert first <= times[0]
        assert times[-1] <= last
        # Sorted, refractory: 2 ms, to the tick of the recording system's clock.
        assert (np.diff(times) > 0.00195).all()
    assert min(np.diff(times).min() for times in filled if times.size > 50) < 0.01


def test_read_by_neurobench(make):
    path = make("synthetic_loco_3")
    data = neurobench(path)
    with h5py.File(path) as file:
        steps = file["t"].shape[1]
        velocity = np.gradient(file["cursor_pos"][()], axis=1)
        changes = np.any(np.diff(file["target_pos"][()], axis=1) != 0, axis=0).sum()
    np.testing.assert_allclose(data.labels.numpy(), velocity, atol=1e-4)
    assert data.time_segments.shape == (changes + 1, 2)
    assert len(data.ind_train) + len(data.ind_val) + len(data.ind_test) == steps
    assert min(len(data.ind_train), len(data.ind_val), len(data.ind_test)) > 0.1 * steps


# Determinism ---------------------------------------------------------------------------------


def test_same_bytes_again(make, tmp_path):
    again = tmp_path / "again.mat"
    generate(SESSIONS["synthetic_loco_1"], again, duration_s=20.0, seed=0)
    assert again.read_bytes() == make("synthetic_loco_1").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.mat"]


def test_seed_and_session_change_everything(make):
    def positions(*arguments):
        with h5py.File(make(*arguments)) as file:
            return file["cursor_pos"][()]

    first = positions("synthetic_indy_1", 20.0, 0)
    assert not np.array_equal(first, positions("synthetic_indy_1", 20.0, 1))
    assert not np.array_equal(first, positions("synthetic_indy_2", 20.0, 0))


# Movement ------------------------------------------------------------------------------------


def test_random_targets_on_the_grid(make):
    with h5py.File(make("synthetic_indy_1", 120.0)) as file:
        cursor, target = file["cursor_pos"][()], file["target_pos"][()]
    levels = -52.5 + 15 * np.arange(8)
    assert np.isin(target, levels).all()
    ends = np.flatnonzero(np.any(np.diff(target, axis=1) != 0, axis=0))
    assert len(np.unique(target[:, ends], axis=1).T) > 40
    assert 120 / 1.5 < ends.size < 120 / 1.0
    # The hand lies on the target when the next one appears, and rests.
    assert np.hypot(*(cursor - target)[:, ends]).max() < 7.5
    speed = np.hypot(*np.gradient(cursor, 0.004, axis=1))
    assert np.median(speed[ends]) < 0.1 * np.sqrt(np.mean(speed**2))
    # One velocity peak per reach, as of minimum-jerk movements: a peak 1.9 times the mean.
    assert 150 < np.median([part.max() for part in np.split(speed, ends)[1:-1]]) < 400


# Calibration ---------------------------------------------------------------------------------


def test_published_means(shared):
    published = json.loads((shared / "reference" / "published.json").read_text())
    sessions = ["I1", "I2", "I3", "L1", "L2", "L3"]
    expected = [
        published["mean_spikes_per_4ms_bin"][published["sessions"][name]] for name in sessions
    ]
    assert [*MEAN_SPIKES["synthetic_indy"], *MEAN_SPIKES["synthetic_loco"]] == expected


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", sorted(SESSIONS))
def test_mean_spikes_per_bin(make, name, seed):
    """As NeuroBench bins them; further sessions cycle through the three calibrations."""
    number = int(name[-1])
    expected = MEAN_SPIKES[name[:-2]][(number - 1) % 3]
    samples = neurobench(make(name, 10.0, seed)).samples
    assert samples.sum(0).mean().item() == pytest.approx(expected, rel=0.02)


def test_spread_of_rates(make):
    """Firing rates of units span orders of magnitude, roughly log-normal."""
    with h5py.File(make("synthetic_loco_1", 120.0)) as file:
        rates = np.array([times.size / 120 for row in cells(file) for times in row if times.size])
    logs = np.log10(rates[rates > 0.1])
    assert 0.3 < logs.std() < 0.6
    assert abs(np.mean(logs) - np.median(logs)) < 0.1
    assert np.median(rates) < 0.8 * rates.mean()


# Information ---------------------------------------------------------------------------------

LAG_STEPS, LAGS = 10, 10  # 400 ms of counts in bins of 40 ms


def read(path):
    """Counts per step (T, C) and velocity (T, 2)."""
    with h5py.File(path) as file:
        start, steps = file["t"][0, 0], file["t"].shape[1]
        counts = np.zeros((steps + 1, file["spikes"].shape[1]), np.float32)
        for row in cells(file):
            for channel, times in enumerate(row):
                # A spike counts from the end of its bin on.
                step = np.ceil((times - start) / 0.004).astype(int)
                counts[:, channel] += np.bincount(step, minlength=steps + 1)
        velocity = np.gradient(file["cursor_pos"][()], axis=1).T
    return counts[:steps], velocity


def lagged(counts, steps, lags=LAGS):
    """Counts (n, lags * C) of the last bins of LAG_STEPS up to each of ``steps``."""
    total = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, 0, dtype=float)])
    edges = [total[np.clip(steps + 1 - lag * LAG_STEPS, 0, None)] for lag in range(lags + 1)]
    return np.hstack([new - old for new, old in pairwise(edges)]).astype(np.float32)


def r2(predicted, true):
    """The mean of the R2 of x and y."""
    residual = ((predicted - true) ** 2).sum(0)
    return np.mean(1 - residual / ((true - true.mean(0)) ** 2).sum(0))


def ridge(counts, velocity):
    """Fit on the first half, penalty by the third quarter.

    Returns:
        R2 on the last quarter, and the decoder: counts -> velocity of every fifth step.
    """
    steps = len(counts)
    train, validation, test = (
        np.arange(int(a * steps), int(b * steps), 5) for a, b in ((0, 0.5), (0.5, 0.75), (0.75, 1))
    )
    inputs = lagged(counts, train)
    mean, offset = inputs.mean(0), velocity[train].mean(0)
    inputs -= mean
    covariance = inputs.T @ inputs
    projected = inputs.T @ (velocity[train] - offset).astype(np.float32)

    def decoder(penalty):
        weights = solve(
            covariance + penalty * np.eye(len(covariance), dtype=np.float32),
            projected,
            assume_a="pos",
        )
        return lambda counts, at: (lagged(counts, at) - mean) @ weights + offset

    penalties = (1e3, 3e3, 1e4)
    scores = [r2(decoder(p)(counts, validation), velocity[validation]) for p in penalties]
    best = decoder(penalties[int(np.argmax(scores))])
    return r2(best(counts, test), velocity[test]), best


def test_ridge_finds_what_it_finds_in_recordings(make):
    for name in ("synthetic_indy_1", "synthetic_indy_2"):
        score, _ = ridge(*read(make(name, 120.0)))
        assert 0.5 < score < 0.75, name


def test_each_area_carries_information_of_its_own(make):
    counts, velocity = read(make("synthetic_loco_1", 120.0))
    m1, _ = ridge(counts[:, :96], velocity)
    s1, _ = ridge(counts[:, 96:], velocity)
    both, _ = ridge(counts, velocity)
    assert 0.15 < s1 < m1 - 0.1
    assert m1 + 0.01 < both
    assert 0.5 < both < 0.75


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in sorted(SESSIONS) if name[-1] != "4"])
def test_ridge_on_every_session(make, name):
    counts, velocity = read(make(name, 180.0, 1))
    score, _ = ridge(counts, velocity)
    assert 0.5 < score < 0.75


def test_m1_leads_and_s1_lags(make):
    """The delay at which instantaneous counts predict velocity best, by area."""
    counts, velocity = read(make("synthetic_loco_1", 120.0))
    inner = np.arange(100, len(counts) - 100, 5)
    smooth = lagged(counts, inner, lags=1)
    best = {}
    for area, columns in {"M1": slice(0, 96), "S1": slice(96, 192)}.items():
        inputs = smooth[:, columns] - smooth[:, columns].mean(0)
        inverse = np.linalg.inv(inputs.T @ inputs + np.eye(96))
        scores = {}
        for lead in range(-40, 41, 5):
            true = velocity[inner + lead]
            predicted = inputs @ (inverse @ (inputs.T @ true)) + true.mean(0)
            scores[lead * 4] = r2(predicted, true)
        best[area] = max(scores, key=scores.get)
    # Counts of the last 40 ms are 20 ms old on average.
    assert best["M1"] == pytest.approx(100 - 20, abs=20)
    assert best["S1"] == pytest.approx(-50 - 20, abs=20)


def test_sessions_of_a_monkey_share_their_tuning(make):
    """A decoder of one session is of use in the next, and of none in another monkey."""
    _, decoder = ridge(*read(make("synthetic_indy_1", 120.0)))

    def score(*arguments):
        counts, velocity = read(make(*arguments))
        at = np.arange(0, len(counts), 5)
        predicted = decoder(counts, at)
        # Rates differ between sessions: judge the direction of the prediction.
        return np.mean([np.corrcoef(predicted[:, i], velocity[at, i])[0, 1] for i in (0, 1)])

    assert score("synthetic_indy_2", 120.0, 0) > 0.5
    assert abs(score("synthetic_indy_1", 20.0, 1)) < 0.3


# Errors --------------------------------------------------------------------------------------


def test_recordings_are_not_made_up(tmp_path):
    with pytest.raises(SessionError, match="loco_20170210_03 is a recording"):
        generate(ZENODO["loco_20170210_03"], tmp_path / "a.mat", duration_s=20, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_too_short(tmp_path):
    with pytest.raises(SessionError, match=r"synthetic\.duration_s is 2"):
        generate(SESSIONS["synthetic_indy_1"], tmp_path / "a.mat", duration_s=2, seed=0)


def test_too_few_channels_for_the_spikes_of_a_session(tmp_path):
    few = replace(SESSIONS["synthetic_indy_1"], areas={"M1": 6})
    with pytest.raises(SessionError, match=r"6 channels are too few .* give it at least 11"):
        generate(few, tmp_path / "a.mat", duration_s=20, seed=0)
    enough = replace(few, areas={"M1": 11})
    generate(enough, tmp_path / "a.mat", duration_s=20, seed=0)


def test_disk_that_takes_no_more(tmp_path):
    path = tmp_path / "a.mat"
    path.write_bytes(b"from an earlier run")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(WriteError, match=r"a\.mat: cannot be written .*free disk space"):
            generate(SESSIONS["synthetic_indy_1"], path, duration_s=20, seed=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"from an earlier run"
    assert list(tmp_path.iterdir()) == [path]
