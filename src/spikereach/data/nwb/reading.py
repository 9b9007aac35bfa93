"""From an NWB file to a session file.

The session file stays the one form in which the rest of the project knows a recording. Stretches
that are recorded and valid follow each other without a gap in it: its clock runs on at 250 Hz,
positions of a later stretch are moved so that the movement goes on with its own velocity, and a
segment begins with each stretch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spikereach.config import Nwb
from spikereach.data.errors import SessionError
from spikereach.data.matfile import STEP_S
from spikereach.data.matwriter import write_session
from spikereach.data.nwb import series, stretches
from spikereach.data.nwb.channels import Channels, channels
from spikereach.data.nwb.opening import opened, schema_version
from spikereach.data.nwb.origin import FIELD
from spikereach.data.nwb.resampling import Resampled, resample
from spikereach.data.nwb.series import Fail, Series
from spikereach.identity import file_checksum

if TYPE_CHECKING:
    from pynwb import NWBFile

TOLD = 100
"""Most times left out that a provenance lists one by one."""
MOST = 1000
"""Most stretches that a session is put together from."""
_SAME_S = 1e-6
"""Times of two series that are nearer are the same."""
_FAR_S = 1e6
"""Of a file whose clock starts later, such as one that counts from 1970, the session's starts at 0:
so large a number holds steps of 4 ms too roughly to count on from."""


@dataclass(frozen=True)
class Described:
    """What an NWB file says of itself."""

    monkey: str
    areas: dict[str, int]


def describe(path: str | Path, options: Nwb) -> Described:
    """Monkey (the subject) and channels per area, as the file names them.

    Raises:
        SessionError: the file cannot be read, or does not say where its units are.
    """
    path = Path(path)
    with opened(path) as nwb:
        fail = _errors_of(path)
        subject = nwb.subject.subject_id if nwb.subject is not None else None
        return Described(subject or "unknown", channels(nwb, options, None, fail).areas)


def steps(path: str | Path, options: Nwb) -> int:
    """About how many steps of 4 ms a session has, gaps included.

    Raises:
        SessionError: the file cannot be read.
    """
    path = Path(path)
    with opened(path) as nwb:
        times = series.behaviour(nwb, options, _errors_of(path)).times
        return round((times[-1] - times[0]) / STEP_S) + 1


def to_session_file(
    path: str | Path, areas: Mapping[str, int] | None, options: Nwb, out: Path
) -> None:
    """Write an NWB file as a session file, the same byte by byte for the same file and options.

    Its field ``nwb`` says in JSON where it comes from, what was resampled how and what was left
    out; `origin` reads it.

    Args:
        path: the NWB file.
        areas: channels per area that the session has; None: as the file says.
        options: what is read from it.
        out: the session file.
    Raises:
        SessionError: the file cannot be read, or lacks what a session needs.
        WriteError: the session file cannot be written.
    """
    path = Path(path)
    with opened(path) as nwb:
        fail = _errors_of(path)
        movement = series.behaviour(nwb, options, fail)
        chosen = channels(nwb, options, areas, fail)
        kept, left_out = _stretches(nwb, movement, chosen, fail)
        parts = [_resampled(movement, *each) for each in kept]
        first_steps = np.cumsum([0, *(part.times.size for part in parts)])
        own = np.concatenate([part.times for part in parts])
        whole = len(parts) == 1
        clock = own if whole else own[0] + STEP_S * np.arange(own.size)
        if abs(own[0]) > _FAR_S:
            clock = clock - own[0]
        position, moves = _joined(parts, movement.kind)
        marks, segments = _marks(nwb, options, own, fail)
        target = _targets(marks, first_steps, moves)
        cells, outside = _spikes(nwb, chosen, movement, kept, parts, clock[first_steps[:-1]], fail)
        told = {
            "source": path.name,
            "sha256": file_checksum(path),
            "nwb_version": schema_version(path),
            "options": options.model_dump(mode="json"),
            "behaviour": movement.path,
            "kind": movement.kind,
            "unit": movement.unit.session,
            "stated_unit": movement.unit.text,
            "segments": segments,
            "resampled": list(dict.fromkeys(part.how for part in parts)),
            "samples_without_value": int((~movement.finite).sum()),
            "stretches": [  # first step, and its time on the clock of the file
                [int(step), float(part.times[0])]
                for step, part in zip(first_steps[:-1], parts, strict=True)
            ],
            "left_out_s": float(sum(each.stop_s - each.start_s for each in left_out)),
            "left_out": [asdict(each) for each in left_out[:TOLD]],
            "units_left_out": chosen.left_out,
            "spikes_left_out": outside,
        }
    text = json.dumps(told, sort_keys=True)
    write_session(
        out,
        {
            "t": clock[None],
            "cursor_pos": position.T,
            "target_pos": target.T,
            FIELD: np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None],
        },
        cells,
        chosen.names,
        title="session read from NWB by spikereach",
    )


def _errors_of(path: Path) -> Fail:
    def fail(field: str, problem: str, remedy: str) -> SessionError:
        return SessionError(f"{path}: {field}: {problem}; {remedy}")

    return fail


def _stretches(
    nwb: NWBFile, movement: Series, chosen: Channels, fail: Fail
) -> tuple[stretches.Intervals, list[stretches.LeftOut]]:
    """What the session is made of; a `SessionError` where that is nothing."""
    recorded = stretches.sampled(movement.times, movement.finite)
    invalid = nwb.invalid_times
    times = [] if invalid is None else [invalid["start_time"][:], invalid["stop_time"][:]]
    if times and not (np.asarray(times[0]) <= np.asarray(times[1])).all():  # or one is NaN
        raise fail(
            "invalid_times",
            "has an interval that ends before it starts, or has no start or no end",
            "correct its start_time and stop_time",
        )
    kept, left_out = stretches.usable(
        (float(movement.times[0]), float(movement.times[-1])),
        recorded,
        _observed(nwb, chosen),
        stretches.merged(np.stack(times, axis=1)) if times else [],
    )
    if not kept:
        why = ", ".join(dict.fromkeys(each.why for each in left_out)) or "it has no values"
        raise fail(
            movement.path,
            f"no stretch of {stretches.SHORTEST_S:g} s is recorded and valid ({why})",
            "look at obs_intervals, invalid_times and the timestamps of the file",
        )
    if len(kept) > MOST:
        raise fail(
            movement.path,
            f"falls into {len(kept)} stretches, more than {MOST}",
            "name a series as `behaviour` that is sampled throughout",
        )
    return kept, left_out


def _observed(nwb: NWBFile, chosen: Channels) -> stretches.Intervals | None:
    """Where all units of the session were observed; None where the file does not say."""
    if "obs_intervals" not in nwb.units.colnames:
        return None
    column = nwb.units["obs_intervals"]
    ends = np.asarray(column.data[:], np.int64)
    begins = np.concatenate([[0], ends[:-1]])
    every = np.asarray(column.target.data[:], float).reshape(-1, 2)
    found: stretches.Intervals | None = None
    for unit in (unit for units in chosen.units for unit in units):
        if ends[unit] == begins[unit]:  # nothing is said of this one
            continue
        own = stretches.merged(every[begins[unit] : ends[unit]])
        found = own if found is None else stretches.common(found, own)
    return found


def _resampled(movement: Series, start_s: float, stop_s: float) -> Resampled:
    """One stretch at 250 Hz, in the session's unit."""
    first, end = np.searchsorted(movement.times, [start_s, np.nextafter(stop_s, np.inf)])
    times, good = movement.times[first:end], movement.finite[first:end]

    def read(begin: int, stop: int) -> np.ndarray:
        return movement.scaled(movement.values(first + begin, min(first + stop, end)))

    if good.all():
        return resample(times, read)
    values = read(0, end - first)[good]
    return resample(times[good], lambda begin, stop: values[begin:stop])


def _joined(parts: list[Resampled], kind: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Positions of all stretches, (T, 2), and by how much each stretch was moved."""
    positions = [part.values for part in parts]
    if kind == "velocity":
        positions = [_integrated(values) for values in positions]
    moves = [np.zeros(2)]
    for k in range(1, len(positions)):
        before, after = positions[k - 1], positions[k]
        step = (before[-1] - before[-2] + after[1] - after[0]) / 2
        moves.append(before[-1] + step - after[0])
        positions[k] = after + moves[-1]
    return np.concatenate(positions), moves


def _integrated(velocity: np.ndarray) -> np.ndarray:
    """Positions (n, 2) from velocities per second, by the trapezoidal rule, from 0."""
    means = STEP_S * (velocity[1:] + velocity[:-1]) / 2
    return np.concatenate([np.zeros((1, 2)), np.cumsum(means, axis=0)])


def _marks(nwb: NWBFile, options: Nwb, own: np.ndarray, fail: Fail) -> tuple[np.ndarray, str]:
    """At each step at ``own`` (T,), on the clock of the file, what changes where a segment begins,
    (T, 2), and what that is."""
    if (found := series.target(nwb, options, fail)) is not None:
        times, good = found.times, found.finite
        if not good.any():
            raise fail(found.path, "has no values", "write nwb: {target: null}")
        if times[-1] < own[0] or times[0] > own[-1]:
            raise fail(
                found.path,
                f"lies outside the behaviour ({own[0]:g} to {own[-1]:g} s)",
                "give times in seconds, on the clock of the behaviour, or write nwb: {target: "
                "null}",
            )
        values = found.scaled(found.values(0, len(found)))[good]
        same = times.shape == own.shape and good.all() and np.array_equal(times, own)
        at = np.arange(own.size) if same else times[good].searchsorted(own + _SAME_S, "right") - 1
        chosen = values[np.maximum(at, 0)]  # before the first target, that one
        if chosen.shape[1] == 1:
            chosen = np.concatenate([chosen, np.zeros_like(chosen)], axis=1)
        return chosen, f"changes of {found.path}"
    if nwb.trials is not None and len(nwb.trials):
        starts = np.sort(np.asarray(nwb.trials["start_time"][:], float))
        count = starts.searchsorted(own + _SAME_S, "right")
        return np.stack([count, np.zeros_like(count)], axis=1).astype(float), "starts of trials"
    seconds = np.floor(own - own[0] + _SAME_S)
    return np.stack([seconds, np.zeros_like(seconds)], axis=1), "one per second"


def _targets(marks: np.ndarray, first_steps: np.ndarray, moves: list[np.ndarray]) -> np.ndarray:
    """Targets (T, 2) moved with their stretches, of which a segment begins with each.

    A segment begins at the last sample before its target appears (`data.binning`): at the first
    sample of a stretch the target of the one before is still there, at the second it has changed.
    """
    target = marks.copy()
    for k, begin in enumerate(first_steps[1:-1], start=1):
        end = first_steps[k + 1]
        target[begin:end] += moves[k]
        target[begin] = target[begin - 1]
        if (target[begin + 1] == target[begin]).all():
            run = (target[begin + 1 : end] != target[begin]).any(axis=1)
            same = int(run.argmax()) if run.any() else end - begin - 1
            target[begin + 1 : begin + 1 + same, 0] = np.nextafter(target[begin, 0], np.inf)
    return target


def _spikes(
    nwb: NWBFile,
    chosen: Channels,
    movement: Series,
    kept: stretches.Intervals,
    parts: list[Resampled],
    starts: np.ndarray,
    fail: Fail,
) -> tuple[list[list[np.ndarray]], int]:
    """Spike times of each unit of each channel on the clock of the session, whose stretches start
    at ``starts``, and how many spikes lie in none."""
    column = nwb.units["spike_times"]
    ends = np.asarray(column.data[:], np.int64)
    begins = np.concatenate([[0], ends[:-1]])
    # What ends with the behaviour itself has no limit: spikes outside are for `data.binning`.
    first, last = float(movement.times[0]), float(movement.times[-1])
    limits = [
        (
            -np.inf if k == 0 and kept[0][0] == first else part.times[0],
            np.inf if k == len(parts) - 1 and kept[k][1] == last else part.times[-1] - STEP_S,
        )
        for k, part in enumerate(parts)
    ]
    rows = max(1, max(map(len, chosen.units)))
    total = outside = beyond = 0
    cells: list[list[np.ndarray]] = []
    for units in chosen.units:
        cells.append([np.empty(0)] * rows)
        for row, unit in enumerate(units):
            times = np.asarray(column.target.data[begins[unit] : ends[unit]], np.float64)
            if not np.isfinite(times).all():
                raise fail("units.spike_times", f"unit {unit} has NaN in it", "leave NaN out")
            times = np.sort(times)
            total += times.size
            beyond += int(((times < first - 1) | (times > last + 1)).sum())
            found = []
            for (low, high), part, start in zip(limits, parts, starts, strict=True):
                own = times[times.searchsorted(low) : times.searchsorted(high)]
                shift = start - part.times[0]
                found.append(own + shift if shift else own)
            cells[-1][row] = np.concatenate(found)
            outside += times.size - cells[-1][row].size
    if beyond > total / 2:
        raise fail(
            "units.spike_times",
            f"{beyond} of {total} spikes lie outside the behaviour ({first:g} to {last:g} s)",
            "give times in seconds, not in samples, on the clock of the behaviour",
        )
    return cells, outside
