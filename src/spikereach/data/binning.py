"""From a session file to a binned session: 4 ms bins, velocities, segments and splits.

Spikes, velocities and the 50/25/25 split are those of NeuroBench 2.3.0's ``PrimateReaching``
with ``bin_width=0.004, num_steps=1, biological_delay=0, train_ratio=0.5, split_num=1``, element
for element (Yik et al. 2025).
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

import spikereach
from spikereach import files
from spikereach.config.sessions import PAPER_AREAS, Session
from spikereach.data.errors import SessionError
from spikereach.data.hdf5 import MEMORY_LIMIT, GuardedFile
from spikereach.data.matfile import STEP_S, SessionFile
from spikereach.data.nwb.origin import origin
from spikereach.identity import array_checksum, file_checksum
from spikereach.kinds import Kind

Scheme = Literal["neurobench", "liu2024"]

_HEADER = ("name", "monkey", "areas", "start_s", "provenance")


@dataclass(frozen=True)
class Split:
    """The parts of a session, each one range of steps; together they tile the recording, but for
    the gaps of a fold."""

    train: range
    val: range
    test: range


@dataclass(frozen=True)
class Fold:
    """What makes a session a fold of another one (`data.folds`)."""

    split: Split
    joint: int
    """Step at which the recording begins, after its end; 0 where nothing was turned."""


@dataclass(frozen=True, eq=False)
class BinnedSession:
    """A session in bins of 4 ms: T steps, C channels, S segments."""

    name: str
    monkey: str
    spikes: np.ndarray
    """(T, C) uint8: 1 at step k where any unit of the channel fired from 8 to 4 ms before the
    sample ``t[k]``. NeuroBench's bins end one step early; step 0 is always empty."""
    velocity: np.ndarray
    """(T, 2) float32: change of cursor position per step, in the file's unit of position. As
    NeuroBench's labels: central differences, one-sided at both ends."""
    position: np.ndarray
    """(T, 2) float32: cursor position in the file's unit."""
    areas: tuple[str, ...]
    """Cortex area of each channel."""
    start_s: float
    """First sample of the file's ``t``, in seconds: its clock rarely starts at 0."""
    segments: np.ndarray
    """(S, 2) int64: first step and end of each segment (one target); they tile the recording."""
    provenance: dict
    """Where the data came from: source file, its SHA-256, binning, package version."""
    fold: Fold | None = None

    @property
    def time_s(self) -> np.ndarray:
        """Time of each step on the file's own clock in seconds, (T,) float64: ``start_s`` and 4 ms
        per step. The file's samples lie less than half a step from it."""
        steps = np.arange(len(self.spikes))
        return self.start_s + STEP_S * np.roll(steps, self.fold.joint if self.fold else 0)

    def stretches(self, steps: range) -> list[range]:
        """The pieces of these steps that are continuous in time: two where a fold's joint lies
        within, else one."""
        joint = self.fold.joint if self.fold else 0
        if not steps.start < joint < steps.stop:
            return [steps]
        return [range(steps.start, joint), range(joint, steps.stop)]

    def split(self, scheme: Scheme) -> Split:
        """Training, validation and test part.

        ``neurobench`` takes 50/25/25 % of the segments in time order. ``liu2024`` keeps that test
        part; of the T steps of the session, the last round(0.1 T / 0.75) before it are for
        validation, wherever segments begin (the code of Liu et al. 2024). A fold has parts of its
        own, whatever the scheme.

        Raises:
            SessionError: a part has no step or no spike, or x or y of its velocity never varies.
        """
        if self.fold is not None:
            split, of = self.fold.split, "the fold"
        else:
            split, of = self._split(scheme), f"split {scheme!r}"
        for part, steps in vars(split).items():
            if not steps:
                raise SessionError(
                    f"session {self.name}: the {part} part of {of} has no steps: target_pos gives "
                    f"{len(self.segments)} segments; use a recording with more targets"
                )
            if not self.spikes[steps.start : steps.stop].any():
                raise SessionError(
                    f"session {self.name}: the {part} part of {of} (steps "
                    f"{steps.start} to {steps.stop}) has no spikes; check the field spikes of "
                    f"{self.provenance['source']} or leave the session out"
                )
            if still := _still(self.velocity[steps.start : steps.stop]):
                raise SessionError(
                    f"session {self.name}: in the {part} part of {of} (steps "
                    f"{steps.start} to {steps.stop}) the velocity of {still} never varies, and "
                    f"nothing can be learnt or scored; check the field cursor_pos of "
                    f"{self.provenance['source']} or leave the session out"
                )
        return split

    def _split(self, scheme: Scheme) -> Split:
        count = len(self.segments)
        train = count // 2
        before_test = train + (count - train) // 2
        steps = len(self.spikes)
        starts = [*self.segments[:, 0].tolist(), steps]
        val, test = starts[train], starts[before_test]
        if scheme == "liu2024":
            val = max(0, test - round(steps * 0.1 / 0.75))
        return Split(train=range(val), val=range(val, test), test=range(test, steps))

    def channels(self, areas: Sequence[str] | None) -> np.ndarray:
        """Columns of the channels in those cortex areas, where the session has them, (n,); None:
        all. A `SessionError` if it has none of them."""
        if areas is None:
            return np.arange(len(self.areas))
        columns = np.flatnonzero(np.isin(self.areas, list(areas)))
        if not columns.size:
            raise SessionError(
                f"session {self.name}: no channel in {' or '.join(areas)}, only in "
                f"{' and '.join(dict.fromkeys(self.areas))}; change the system's `areas`"
            )
        return columns

    def save(self, path: str | Path) -> None:
        """Write an HDF5 file (spikes as bits, gzip) with a checksum of its content; docs/python.md
        describes it.

        The file appears whole or not at all, and is the same byte by byte for the same session.

        Raises:
            WriteError: the file cannot be written; an earlier one is left as it was.
        """
        packed = np.packbits(self.spikes, axis=1)
        fields = {name: getattr(self, name) for name in _HEADER}
        if self.fold is not None:
            parts = {part: [each.start, each.stop] for part, each in vars(self.fold.split).items()}
            fields["fold"] = parts | {"joint": self.fold.joint}
        header = json.dumps(fields, sort_keys=True)
        arrays = {"spikes": packed, "position": self.position, "segments": self.segments}
        # Built in memory, so that a full disk meets Python's own file and not the HDF5 library.
        image = io.BytesIO()
        with h5py.File(image, "w") as file:
            file.attrs["header"] = header
            file.attrs["sha256"] = array_checksum(arrays, header)
            for name, array in arrays.items():
                chunks = (min(len(array), 2**16), array.shape[1])
                file.create_dataset(name, data=array, chunks=chunks, compression="gzip")
        files.replace(path, image.getbuffer())

    @classmethod
    def load(cls, path: str | Path) -> BinnedSession:
        """Read a file written by `save`.

        Raises:
            SessionError: it is missing, damaged, its content fails the checksum, or its fields
                contradict each other.
        """
        with GuardedFile(path, Kind.BINNED) as file, file.guard("content"):
            header = file.attribute("header")
            arrays = {
                name: file.values(name, file.field(name), kind)
                for name, kind in (("spikes", "u"), ("position", "f"), ("segments", "i"))
            }
            if array_checksum(arrays, header) != file.attribute("sha256"):
                raise file.error("content", "does not match its checksum")
            fields = json.loads(header)
            if lacking := [name for name in _HEADER if name not in fields]:
                raise file.error("header", f"has no {lacking[0]}: an earlier version binned it")
            fold = _fold(file, fields.get("fold"), len(arrays["position"]))
            _check(file, fields, **arrays)
            fields = {name: fields[name] for name in _HEADER} | arrays
            fields["areas"] = tuple(fields["areas"])
            fields["spikes"] = np.unpackbits(arrays["spikes"], axis=1, count=len(fields["areas"]))
            return cls(**fields, velocity=velocity_of(arrays["position"], fold), fold=fold)


def named(path: str | Path) -> str:
    """The name of the session that was binned into a file, which is not otherwise checked.

    Raises:
        SessionError: the file is missing or damaged.
    """
    with GuardedFile(path, Kind.BINNED) as file, file.guard("header"):
        return str(json.loads(file.attribute("header"))["name"])


def bin_session(path: str | Path, session: Session) -> BinnedSession:
    """Bin a session file (`data.matfile`); peak memory is below twice the binned array.

    ``session`` is what it should hold: channels per area, and of sessions of Zenodo record 583331
    samples, segments and the length of the test part, as far as they are known.

    Raises:
        SessionError: the file is damaged or is not that session.
    """
    with SessionFile(path) as file, ThreadPoolExecutor(1) as beside:
        sha256 = beside.submit(file_checksum, file.path)
        areas = channel_areas(file, session)
        _compare(file, session, "t", "samples", file.t.size, session.samples)
        with np.errstate(over="ignore"):
            position = file.position("cursor_pos").T.astype(np.float32, order="C")
        if not np.isfinite(position).all():
            raise file.error("cursor_pos", "exceeds the range of float32", "use another unit")
        velocity = velocity_of(position)
        if still := _still(velocity):
            raise file.error(
                "cursor_pos",
                f"the velocity of {still} never varies (first at {position[0].tolist()}, last at "
                f"{position[-1].tolist()}), so that it cannot be decoded",
                "give x and y of a movement in two dimensions",
            )
        segments = segments_of(file.position("target_pos"))
        _compare(file, session, "target_pos", "segments", len(segments), session.segments)
        spikes, outside = _spikes(file)
        told = origin(file)
    binned = BinnedSession(
        name=session.name,
        monkey=session.monkey,
        spikes=spikes,
        velocity=velocity,
        position=position,
        areas=areas,
        start_s=float(file.t[0]),
        segments=segments,
        provenance={
            "source": file.path.name,
            "sha256": sha256.result(),
            "bin_width_s": STEP_S,
            "spikes_outside_t": outside,
            "spikes_out_of_order": file.out_of_order,
            "spikereach": spikereach.__version__,
            **({} if told is None else {"nwb": told}),
        },
    )
    if known := session.test_steps:
        steps = len(binned.split("neurobench").test)
        _compare(file, session, "target_pos", "steps of the test part", steps, known)
    return binned


def velocity_of(position: np.ndarray, fold: Fold | None = None) -> np.ndarray:
    """Velocity (T, 2) from position (T, 2), as in `BinnedSession`; across a fold's joint nothing
    is subtracted."""
    pieces = np.split(position, [fold.joint] if fold and fold.joint else [])
    return np.concatenate([np.gradient(piece, axis=0) for piece in pieces])


def _compare(
    file: SessionFile, session: Session, field: str, what: str, found: int, known: int | None
) -> None:
    """Refuse what is counted in a field where another number is known of the published file."""
    if known not in (None, found):
        raise file.error(
            field,
            f"gives {found} {what}, known of {session.name} are {known}",
            "fetch the file again",
        )


def _still(velocity: np.ndarray) -> str:
    """Which coordinates of a velocity (T, 2) are the same in all steps; empty for none."""
    still = velocity.min(axis=0) == velocity.max(axis=0)
    return " and ".join(name for name, same in zip("xy", still, strict=True) if same)


def channel_areas(file: SessionFile, session: Session) -> tuple[str, ...]:
    """Area of each channel, (C,), checked against the file's own channel names ("M1 001").

    A channel's name tells an area where it begins with one of the session's; where the session has
    M1 or S1, with either of them.

    Raises:
        SessionError: the file has another number of channels, or other names.
    """
    areas = session.area_of_channels
    if len(areas) != file.channels:
        raise file.error(
            "spikes",
            f"has {file.channels} channels, session {session.name} has {len(areas)}",
            "correct `areas` of the session, or store spikes as (channels, units) in MATLAB",
        )
    known = {*session.areas}
    if not known.isdisjoint(PAPER_AREAS):
        known |= {*PAPER_AREAS}
    for channel, (name, area) in enumerate(zip(file.names, areas, strict=False)):
        told = (each for each in known if f"{name} ".startswith(f"{each} "))
        if max(told, key=len, default=area) != area:  # "M1 left" rather than "M1"
            raise file.error(
                "chan_names",
                f"channel {channel} is named {name!r} but belongs to {area}",
                "list the session's `areas` in the order of the file",
            )
    return areas


def _spikes(file: SessionFile) -> tuple[np.ndarray, int]:
    """Binary spikes (T, C) uint8, and how many spikes lie outside ``t``."""
    steps, channels = file.t.size, file.channels
    if steps * channels > MEMORY_LIMIT:
        raise file.error("t", f"{steps} steps of {channels} channels need too much memory")
    edges = np.arange(file.t[0] - STEP_S, file.t[-1], STEP_S)
    # Rounding may give one edge more than t has samples, never another number, unless the
    # times are so large that a double cannot tell 4 ms apart.
    drift = edges[-1] - (edges[0] + STEP_S * (len(edges) - 1))
    if len(edges) not in (steps, steps + 1) or abs(drift) >= STEP_S / 2:
        raise file.error("t", f"starts at {file.t[0]} s", "let t start near 0")
    spikes = np.empty((steps, channels), np.uint8)
    spikes.fill(0)  # unlike those of numpy.zeros, on huge pages where there are any: 5 times faster
    near = file.t[0] - STEP_S, np.nextafter(file.t[-1], np.inf)  # t, its first bin included
    inside, total = 0, 0
    for channel, column in enumerate(spikes.T):
        for times in file.spike_times(channel):
            if times.size:
                bins = bin_columns(times, edges)
                first, end = times.searchsorted(near)
                inside += int(end - first)
                total += times.size
                column[bins[: bins.searchsorted(steps)]] = 1
    if inside < total / 2:  # their times are in another unit
        raise file.error(
            "spikes",
            f"{total - inside} of {total} spikes lie outside t ({file.t[0]} to {file.t[-1]} s)",
            "give spike times in seconds, on the same clock as t",
        )
    return spikes, total - inside


def bin_columns(times: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Column of each spike: bin j, from ``edges[j]`` up to but without ``edges[j + 1]``, is
    column j + 1; the last bin includes its upper edge. Spikes outside are dropped.

    Equals ``numpy.histogram(times, edges)`` followed by NeuroBench's shift by one. Almost every
    bin follows from the even spacing alone; only spikes so close to an edge that rounding could
    matter are compared with the edges themselves. ``times`` (n,) are sorted, ``edges`` evenly
    spaced up to rounding, at least two.
    """
    first, last = edges[0], edges[-1]
    step = edges[1] - first
    times = times[times.searchsorted(first) : times.searchsorted(last, "right")]
    doubt = 1e-6 + np.spacing(max(-first, last)) / step  # bins; a rounding error is smaller
    place = times - first
    place *= 1 / step
    bins = place.astype(np.int64)
    place -= np.rint(place)
    close = np.flatnonzero(np.abs(place, out=place) < doubt)
    bins[close] = edges.searchsorted(times[close], "right") - 1
    bins += 1
    bins[bins.searchsorted(len(edges)) :] = len(edges) - 1
    return bins


def segments_of(target_pos: np.ndarray) -> np.ndarray:
    """Segments (S, 2) from target_pos (2, T). As in NeuroBench, a segment starts at the last
    sample before its target appears."""
    change = np.flatnonzero((target_pos[:, 1:] != target_pos[:, :-1]).any(axis=0))
    bounds = np.concatenate(([0], change, [target_pos.shape[1]])).astype(np.int64)
    return np.stack([bounds[:-1], bounds[1:]], axis=1)


def _fold(file: GuardedFile, told: Any, steps: int) -> Fold | None:
    """What a header says of a fold, of a session of so many steps."""
    if told is None:
        return None
    parts = {part: range(*told[part]) for part in ("train", "val", "test")}
    bounds = [bound for part in parts.values() for bound in (part.start, part.stop)]
    joint = told["joint"]
    if not (
        all(type(bound) is int for bound in [*bounds, joint])
        and [0, *bounds] == sorted([0, *bounds])
        and bounds[-1] == steps
        and (joint == 0 or 2 <= joint <= steps - 2)
    ):
        raise file.error("header", "tells of a fold that does not fit the other fields")
    return Fold(Split(**parts), joint)


def _check(
    file: GuardedFile, fields: dict, spikes: np.ndarray, position: np.ndarray, segments: np.ndarray
) -> None:
    """Refuse what `BinnedSession.save` never writes; anybody can compute a right checksum."""
    steps, channels = len(spikes), len(fields["areas"])
    bounds = np.append(segments[:1, 0], segments[:, 1])
    texts = [fields["name"], fields["monkey"], *fields["areas"]]
    sound = {
        "header": isinstance(fields["provenance"], dict)
        and isinstance(fields["start_s"], float)
        and math.isfinite(fields["start_s"])
        and isinstance(fields["areas"], list)
        and all(isinstance(text, str) for text in texts),
        "spikes": spikes.dtype == np.uint8
        and spikes.shape == (steps, -(-channels // 8))
        and 0 < steps * channels <= MEMORY_LIMIT,
        "position": position.dtype == np.float32
        and position.shape == (steps, 2)
        and np.isfinite(position).all(),
        "segments": segments.dtype == np.int64
        and segments.shape == (len(segments), 2)
        and np.array_equal(bounds[:-1], segments[:, 0])
        and np.array_equal(bounds[[0, -1]], [0, steps])
        and (np.diff(bounds) >= 0).all(),
    }
    for name, good in sound.items():
        if not good:
            raise file.error(name, "does not fit the other fields")
