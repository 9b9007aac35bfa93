"""Synthetic recording sessions in the file layout of the Zenodo record 583331.

A monkey's hand reaches for random targets on a grid; model units of M1 and S1 fire with it.
The files say that they are synthetic (root attribute ``synthetic``). They exist so that the
whole pipeline runs without a download, and so that tests know the truth. What is made up is
listed in docs/assumptions.md; the mean number of spikes is calibrated to the real sessions.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from spikereach.config.sessions import Session
from spikereach.data.errors import SessionError
from spikereach.data.matfile import STEP_S
from spikereach.data.matwriter import write_session
from spikereach.identity import text_checksum

RATE_HZ = 250

#: Mean number of spikes per 4 ms bin, binary per channel and summed over channels, of the
#: evaluation sessions I1, I2, I3 and L1, L2, L3: the accumulates per step that NeuroBench's
#: results print for SNN2 (Yik et al. 2025), divided by its 50 hidden units.
MEAN_SPIKES = {
    "synthetic_indy": (7.933, 4.889, 3.718),
    "synthetic_loco": (10.207, 11.177, 11.698),
}

SURPLUS = 1.3
"""Spikes that are drawn, for each that stays."""

# The task of O'Doherty et al. 2017: self-paced reaching on a grid of 8 x 8 targets.
GRID = 8
SPACING_MM = 15.0
MARGIN = RATE_HZ  # kinematics simulated before and after the session, for leads and lags

# Typical values that make the movement variables of order one for the tuning.
VELOCITY_MM_S = 80.0
POSITION_MM = 35.0

UNITS = 5  # rows of `spikes`: unit 0 is unsorted, the others are sorted
DEAD_TIME_S = 0.002
CLOCK_HZ = 24414.0625  # sample clock of the recording system: spike times lie on it


@dataclass(frozen=True)
class AreaModel:
    """How the units of one cortex area relate to the movement."""

    lead_s: float
    """Mean time by which firing precedes the movement it encodes (negative: lags)."""
    depth: float
    """Typical modulation of a unit's drive by the movement; its resting drive is one."""
    private_noise: float
    """Standard deviation of the error of the velocity the area encodes, relative to
    VELOCITY_MM_S: information about the movement that no number of units can add."""


AREAS = {
    "M1": AreaModel(lead_s=0.10, depth=1.1, private_noise=0.45),
    "S1": AreaModel(lead_s=-0.05, depth=1.0, private_noise=0.50),
}


def generate(session: Session, path: Path, *, duration_s: float, seed: int) -> None:
    """Write one synthetic session to ``path`` (MATLAB v7.3 layout, HDF5).

    The same session, duration and seed give the same bytes. Sessions of one monkey share
    most of their tuning, as recordings from one implant do.

    Args:
        session: ``synthetic_indy_N`` or ``synthetic_loco_N``; its areas give the channels.
        path: written whole or not at all.
        duration_s: length in seconds, at least 10.
        seed: any integer; the names of the monkey and of the session are added to it.
    Raises:
        SessionError: the session is no synthetic one, or the duration is too short.
        WriteError: the disk is full, the folder read-only, ...
    """
    made = simulate(session, duration_s=duration_s, seed=seed)
    steps = made.position.shape[1] - 2 * MARGIN
    shown = slice(MARGIN, MARGIN + steps)
    x, y = cursor = made.position[:, shown]
    fields = {
        "t": made.start_s + np.arange(steps)[None] * STEP_S,
        "cursor_pos": cursor,
        "target_pos": made.target[:, shown],
        "finger_pos": np.stack([np.full(steps, 150.0), -x, -y]) / 10,  # (z, -x, -y) in cm
    }
    note = f"synthetic session {session.name}, seed {seed}: made by spikereach, no recording"
    spikes = [[_clock(times, made.start_s, steps) for times in units] for units in made.cells]
    names = [f"{area} {i + 1:03d}" for area, count in session.areas.items() for i in range(count)]
    title = "synthetic session made by spikereach"
    write_session(path, fields, spikes, names, title=title, attributes={"synthetic": note})


class Simulated(NamedTuple):
    """A session before it is written."""

    position: np.ndarray
    """(2, T + 2 MARGIN) in mm."""
    target: np.ndarray
    start_s: float
    channels: "list[list[Recorded]]"
    """Units of each channel."""
    cells: list[list[np.ndarray]]
    """Spike times in seconds from the session's start, per channel and unit row."""
    thinning: float
    """Factor from the units' rates to those of the spikes in ``cells``."""


def simulate(session: Session, *, duration_s: float, seed: int) -> Simulated:
    """What :func:`generate` writes.

    Raises:
        SessionError: the session is no synthetic one, is too short, or has too few channels.
    """
    if session.monkey not in MEAN_SPIKES:
        raise SessionError(
            f"{session.name} is a recording, not a synthetic session; "
            "use synthetic_indy_N or synthetic_loco_N, or another `source`"
        )
    if duration_s < 10:
        raise SessionError(
            f"{session.name}: synthetic.duration_s is {duration_s}, give at least 10 seconds"
        )
    number = int(session.name.rsplit("_", 1)[1])
    means = MEAN_SPIKES[session.monkey]
    mean_spikes = means[(number - 1) % len(means)]
    if (count := sum(session.areas.values())) <= SURPLUS * mean_spikes:
        raise SessionError(
            f"{session.name}: {count} channels are too few for the {mean_spikes} spikes per bin of "
            f"this synthetic session; give it at least {math.floor(SURPLUS * mean_spikes) + 1}"
        )
    steps = round(duration_s * RATE_HZ)
    rng = random_stream(seed, session.name)

    position, target = _reach(steps + 2 * MARGIN, rng)
    start_s = round(rng.uniform(60.0, 900.0), 3)
    channels = _record(session, position, steps, seed, rng)
    cells, thinning = _calibrate(channels, steps, mean_spikes, rng)
    return Simulated(position, target, start_s, channels, cells, thinning)


def random_stream(*key: object) -> np.random.Generator:
    """A random stream of its own for every key."""
    entropy = bytes.fromhex(text_checksum(repr(key)))
    return np.random.default_rng(np.frombuffer(entropy, dtype=np.uint32))


def _reach(steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Position and target at 250 Hz in mm, (2, T) each: reach after reach, without gaps.

    A target appears when the last one has been held. Each reach is a curved minimum-jerk movement
    (Flash and Hogan 1985) that lands near the target, and a smaller one that corrects it.
    """
    increments = np.zeros((2, steps))
    target = np.empty((2, steps))
    cell = rng.integers(GRID, size=2)
    hand = _target_mm(cell)
    origin = hand
    now = 0
    while now < steps:
        # One of the other 63 targets, each as likely.
        flat = (cell[0] * GRID + cell[1] + rng.integers(1, GRID * GRID)) % (GRID * GRID)
        cell = np.array(divmod(int(flat), GRID))
        goal = _target_mm(cell)
        distance = np.hypot(*(goal - hand))
        reaction_s = rng.uniform(0.14, 0.26)
        duration_s = (0.38 + 0.0022 * distance) * rng.lognormal(0, 0.12)
        hold_s = rng.uniform(0.15, 0.4)

        landing = goal + rng.normal(0, 0.06 * distance + 1.0, size=2)
        bend = rng.normal(0, 0.08)
        begin = now + round(reaction_s * RATE_HZ)
        primary = _minimum_jerk(landing - hand, bend, duration_s)
        correction_at = begin + round(0.75 * duration_s * RATE_HZ)
        correction = _minimum_jerk(goal - landing, 0.0, 0.32)
        for first, way in ((begin, primary), (correction_at, correction)):
            place = increments[:, first : first + way.shape[1]]
            place += way[:, : place.shape[1]]

        held = correction_at + correction.shape[1] + round(hold_s * RATE_HZ)
        target[:, now:held] = goal[:, None]
        hand, now = goal, held
    position = origin[:, None] + np.cumsum(increments, axis=1)
    position += 0.6 * smooth_noise((2, steps), 0.12, rng)  # mm; the hand is never quite still
    return position, target


def _target_mm(cell: np.ndarray) -> np.ndarray:
    return (cell - (GRID - 1) / 2) * SPACING_MM


def _minimum_jerk(way: np.ndarray, bend: float, duration_s: float) -> np.ndarray:
    """Increments (2, n) along ``way`` (mm); ``bend``: height of the arc relative to its length."""
    s = np.linspace(0, 1, max(2, round(duration_s * RATE_HZ)) + 1)
    along = s**3 * (10 - 15 * s + 6 * s**2)
    aside = 64 * bend * (s * (1 - s)) ** 3
    across = np.array([-way[1], way[0]])
    return np.diff(way[:, None] * along + across[:, None] * aside, axis=1)


def smooth_noise(shape: tuple[int, ...], time_s: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of unit variance along the last axis, smooth (two poles at ``time_s``)."""
    pole = np.exp(-STEP_S / time_s)
    # Variance of white noise after two equal poles.
    variance = (1 + pole**2) / (1 - pole**2) ** 3
    warm_up = round(8 * time_s * RATE_HZ)
    white = rng.standard_normal((*shape[:-1], shape[-1] + warm_up))
    return lfilter([1.0], [1.0, -2 * pole, pole**2], white)[..., warm_up:] / np.sqrt(variance)


@dataclass(frozen=True)
class Unit:
    """The tuning of one unit (angles in radians, weights relative to a drive of one at rest)."""

    row: int
    rate: float
    """Mean rate in Hz before calibration."""
    direction: float
    depth: float
    compression: float
    """Share of the velocity tuning that depends on the direction more than on the speed."""
    position: tuple[float, float]
    speed: float
    lead_s: float
    private: tuple[float, ...]
    """Loadings on the fluctuations that the units of the area share."""
    sharpness: float
    """Sharpness of the rectification: rate ~ softplus(sharpness * drive)."""


SHARED = 4  # rate fluctuations per area that have nothing to do with the movement
SHARED_S = 0.06  # their time constant
PRIVATE_S = 0.08  # that of the error of the velocity that an area encodes
AROUSAL, AROUSAL_S = 0.15, 2.0  # deviation of the logarithm of all rates together, time constant


def _draw_unit(row: int, area: AreaModel, rng: np.random.Generator) -> Unit:
    unsorted = row == 0
    mixing = 0.6 if unsorted else 1.0  # the hash of several cells is less tuned
    return Unit(
        row=row,
        rate=min(80.0, rng.lognormal(np.log(7.0 if unsorted else 5.0), 0.9)),
        direction=rng.uniform(0, 2 * np.pi),
        depth=mixing * area.depth * rng.lognormal(-0.1, 0.45),
        compression=rng.uniform(0.2, 0.8),
        position=tuple(0.25 * mixing * rng.standard_normal(2)),
        speed=mixing * area.depth * rng.normal(0.35, 0.3),
        lead_s=rng.normal(area.lead_s, 0.025),
        private=tuple(0.3 * rng.standard_normal(SHARED)),
        sharpness=rng.uniform(1.2, 3.0),
    )


def _draw_channel(area: AreaModel, rng: np.random.Generator) -> list[Unit]:
    """Unit 0 on nearly every channel and none to four sorted units, as in the recordings."""
    count = rng.choice(UNITS, p=[0.15, 0.35, 0.30, 0.15, 0.05])
    rows = list(range(1, 1 + count))
    if rng.random() < 0.93:
        rows.insert(0, 0)
    return [_draw_unit(row, area, rng) for row in rows]


class Recorded(NamedTuple):
    """A unit in a session, before spikes are thinned."""

    unit: Unit
    rate: np.ndarray
    """(T,) in Hz, mean as in ``Unit.rate``."""
    last_hz: float
    """At the session's end, for a relative rate (:func:`relative_rate`) of one."""


def _record(
    session: Session, position: np.ndarray, steps: int, seed: int, rng: np.random.Generator
) -> list[list[Recorded]]:
    """The units of every channel."""
    seconds = np.arange(steps) * STEP_S
    knots = np.arange(0, seconds[-1] + 60, 30.0)
    arousal = np.exp(AROUSAL * smooth_noise((steps,), AROUSAL_S, rng))
    velocity = np.gradient(position, STEP_S, axis=1)  # mm/s
    channels = []
    for name, count in session.areas.items():
        area = AREAS[name]
        tuning = random_stream(seed, session.monkey, name)
        noise = area.private_noise * smooth_noise(velocity.shape, PRIVATE_S, rng)
        encoded = velocity / VELOCITY_MM_S + noise
        shared = smooth_noise((SHARED, steps), SHARED_S, rng)
        for _ in range(count):
            units = _draw_channel(area, tuning)
            if rng.random() < 0.05:  # another cell has come near the electrode
                units = _draw_channel(area, rng)
            channels.append([])
            for unit in units:
                found = replace(  # as today finds it: the electrodes have moved a little since
                    unit,
                    rate=min(80.0, unit.rate * rng.lognormal(0, 0.25)),
                    direction=unit.direction + rng.normal(0, np.deg2rad(15)),
                    depth=unit.depth * rng.lognormal(0, 0.15),
                )
                rate = arousal * _rate(found, encoded, position, shared, steps)
                # It changes slowly: a random walk with a step of some 5 % per minute.
                walk = np.cumsum(rng.normal(0, 0.05, size=knots.size))
                change = np.exp(np.interp(seconds, knots, walk))
                rate *= change
                scale = found.rate / rate.mean()
                channels[-1].append(Recorded(found, rate * scale, change[-1] * scale))
    return channels


def _rate(
    unit: Unit, encoded: np.ndarray, position: np.ndarray, shared: np.ndarray, steps: int
) -> np.ndarray:
    """Relative firing rate (T,): cosine tuning to velocity, position and speed, rectified.

    Georgopoulos et al. 1982 (direction), Moran and Schwartz 1999 (speed), Paninski et al.
    2004 (position and velocity). The tuning to direction saturates with speed for some units.
    """
    begin = MARGIN + round(unit.lead_s * RATE_HZ)
    x, y = encoded[:, begin : begin + steps]
    px, py = position[:, begin : begin + steps] / POSITION_MM
    return relative_rate(unit, x, y, px, py, shared)


def relative_rate(unit, x, y, px, py, shared):
    """Of a unit at T steps, or, its fields being arrays, of N units at one step.

    Args:
        unit: a :class:`Unit`, or one with arrays (N,) as fields.
        x: encoded velocity in VELOCITY_MM_S.
        y: as x.
        px: position in POSITION_MM.
        py: as px.
        shared: the area's fluctuations, SHARED of them.
    """
    along = np.cos(unit.direction) * x + np.sin(unit.direction) * y
    speed = np.sqrt(x**2 + y**2)
    drive = 1 + unit.speed * (speed - 0.8)
    drive += unit.depth * along * (1 - unit.compression + unit.compression / (0.5 + speed))
    drive += unit.position[0] * px + unit.position[1] * py
    for loading, fluctuation in zip(unit.private, shared, strict=True):
        drive += loading * fluctuation
    return np.logaddexp(0, unit.sharpness * drive)


def _calibrate(
    channels: list[list[Recorded]], steps: int, mean_spikes: float, rng: np.random.Generator
) -> tuple[list[list[np.ndarray]], float]:
    """Sorted spike times in seconds from the session's start, per channel and unit row, such that
    exactly the wanted number of (channel, bin) pairs is occupied; and the factor of all rates.

    More spikes than needed are drawn, each with a random mark; those with marks below a
    threshold stay. Thinning keeps tuning, the spread of rates and refractoriness.
    """
    rates = np.array([sum(each.unit.rate for each in units) for units in channels])
    gain = 1.0
    while (occupied := -np.expm1(-gain * rates * STEP_S).sum()) < SURPLUS * mean_spikes:
        gain *= SURPLUS * mean_spikes / occupied
    drawn = [
        [(each.unit.row, _spikes(gain * each.rate, rng)) for each in units] for units in channels
    ]
    marked = [[(row, times, rng.random(times.size)) for row, times in units] for units in drawn]
    lowest = []  # the mark at which each occupied bin of each channel appears
    for units in marked:
        first = np.full(steps, np.inf)
        for _, times, marks in units:
            bins = np.minimum((times * RATE_HZ).astype(np.int64), steps - 1)
            np.minimum.at(first, bins, marks)
        lowest.append(first[np.isfinite(first)])
    threshold = np.sort(np.concatenate(lowest))[round(mean_spikes * steps) - 1]
    kept = [{row: times[marks <= threshold] for row, times, marks in units} for units in marked]
    cells = [[units.get(row, np.empty(0)) for row in range(UNITS)] for units in kept]
    return cells, gain * threshold


def _spikes(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sorted times of a Poisson process of ``rate`` (T,) in Hz with a dead time."""
    expected = np.concatenate([[0.0], np.cumsum(rate) * STEP_S])
    uniform = np.sort(rng.random(rng.poisson(expected[-1]))) * expected[-1]
    times = np.interp(uniform, expected, np.arange(expected.size) * STEP_S)
    while times.size and (close := np.diff(times) < DEAD_TIME_S).any():
        # Of a run of close spikes the first of each pair stays.
        close[1:] &= ~close[:-1]
        times = np.delete(times, np.flatnonzero(close) + 1)
    return times


def _clock(times: np.ndarray, start_s: float, steps: int) -> np.ndarray:
    """Absolute spike times on the recording system's clock, inside the session."""
    ticks = np.ceil((times + start_s) * CLOCK_HZ)
    last = np.floor((start_s + (steps - 1) * STEP_S) * CLOCK_HZ)
    return ticks[ticks <= last] / CLOCK_HZ
