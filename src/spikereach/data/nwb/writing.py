"""From a session file to an NWB file, and decoded velocities into a copy of one."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import spikereach
from spikereach import files
from spikereach.config.sessions import ZENODO, Session
from spikereach.data.binning import channel_areas, segments_of
from spikereach.data.errors import SessionError
from spikereach.data.matfile import STEP_S, SessionFile
from spikereach.data.nwb.opening import external_links, library, opened
from spikereach.data.nwb.origin import origin
from spikereach.files import WriteError
from spikereach.identity import file_checksum

_MM = 0.001
"""Metres; positions of session files are taken to be in mm, unless they were read from NWB and are
in another unit."""
MODULE = "spikereach"
"""The processing module of decoded velocities."""


def recorded_on(name: str) -> datetime | None:
    """The day in the name of a session, such as indy_20160622_01; None where there is none."""
    for found in re.finditer(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?!\d)", name):
        with contextlib.suppress(ValueError):
            return datetime(*map(int, found.groups()), tzinfo=UTC)
    return None


def to_nwb(path: str | Path, session: Session, start: datetime, out: Path) -> None:
    """Write a session file as NWB: units on electrodes, ``cursor_pos`` and ``target_pos``, and a
    trial for each segment. `reading` makes the same binned session of it.

    Args:
        path: the session file.
        session: what it holds.
        start: when the recording began, with its time zone; times of the file count from there.
        out: the NWB file.
    Raises:
        SessionError: the file is damaged or is not that session.
        WriteError: the NWB file cannot be written.
    """
    pynwb = library()
    with SessionFile(path) as file:
        areas = channel_areas(file, session)
        told = origin(file)
        nwb = pynwb.NWBFile(
            session_description=f"reaching, session {session.name}, written by spikereach "
            f"{spikereach.__version__} from a session file",
            identifier=f"{session.name} {file_checksum(path)[:32]}",
            session_start_time=start,
            session_id=session.name,
            notes=None if told is None else f"The session file was itself read from NWB: {told}",
            subject=_subject(session),
        )
        _add_units(nwb, file, areas)
        _add_behaviour(nwb, file, "mm" if told is None else told["unit"])
    image = io.BytesIO()  # a full disk then meets Python's own file and not the HDF5 library
    with h5py.File(image, "w") as content, pynwb.NWBHDF5IO(file=content, mode="w") as writer:
        writer.write(nwb)
    files.replace(out, image.getbuffer())


def _subject(session: Session) -> Any:
    """Session files do not say more of an animal than its name: age and sex stay open."""
    recorded = {each.monkey for each in ZENODO.values()}  # O'Doherty et al. 2017
    known = {"species": "Macaca mulatta"} if session.monkey in recorded else {}
    return library().file.Subject(subject_id=session.monkey, age="P0D/", sex="U", **known)


def _add_units(nwb: Any, file: SessionFile, areas: tuple[str, ...]) -> None:
    array = nwb.create_device("array", description="the electrodes, of which no more is known")
    groups = {
        area: nwb.create_electrode_group(_named(area), f"electrodes in {area}", area, array)
        for area in dict.fromkeys(areas)
    }
    nwb.add_electrode_column("channel_name", "name of the channel in the session file")
    names = file.names or [f"{area} {channel + 1:03d}" for channel, area in enumerate(areas)]
    for name, area in zip(names, areas, strict=True):
        nwb.add_electrode(group=groups[area], location=area, channel_name=name)
    for channel in range(len(areas)):
        for times in file.spike_times(channel):
            if times.size:
                nwb.add_unit(spike_times=times, electrodes=[channel])
    if nwb.units is None:
        raise file.error("spikes", "no channel has a spike", "give a recording with spikes")


def _named(area: str) -> str:
    """What a group of electrodes may be called: HDF5 has / and the dot for itself, pynwb the :."""
    return re.sub(r"[/:]|^\.+$", lambda found: f"%{ord(found[0][0]):X}" * len(found[0]), area)


def _add_behaviour(nwb: Any, file: SessionFile, unit: str) -> None:
    from hdmf.backends.hdf5 import H5DataIO

    t = file.t
    if np.array_equal(t, t[0] + STEP_S * np.arange(t.size)):
        clock = {"rate": 1 / STEP_S, "starting_time": float(t[0])}
    else:
        clock = {"timestamps": H5DataIO(t, compression="gzip")}
    said = {"cursor_pos": "the cursor, or the hand that moves it", "target_pos": "the target"}
    position = library().behavior.Position()
    nwb.create_processing_module("behavior", "movement").add(position)
    for name, what in said.items():
        position.create_spatial_series(
            name=name,
            description=f"position of {what}: x and y",
            data=H5DataIO(np.ascontiguousarray(file.position(name).T), compression="gzip"),
            unit="meters" if unit == "mm" else unit,
            conversion=_MM if unit == "mm" else 1.0,
            reference_frame="that of the session file",
            **clock,
        )
    for first, end in segments_of(file.position("target_pos")).tolist():
        if first < end:
            nwb.add_trial(start_time=t[first], stop_time=t[min(end, t.size - 1)])


def add_velocity(
    path: str | Path, velocity: np.ndarray, about: Mapping[str, Any], decoder: str, out: Path
) -> None:
    """Write a copy of an NWB file that has the decoded velocity in a processing module of its own.

    Args:
        path: the NWB file.
        velocity: (T, 2) per step of 4 ms, in the session's unit.
        about: what `origin` told of the session that was decoded; its times are the file's own.
        decoder: what decoded it, in words.
        out: the copy.
    Raises:
        SessionError: the file cannot be read, or has a module of that name already.
        WriteError: the copy cannot be written.
    """
    pynwb = library()
    with opened(path) as nwb:
        if MODULE in nwb.processing:
            raise SessionError(
                f"{path}: processing: has a module {MODULE!r} already; decode the file that was "
                "recorded"
            )
    lengths = {"mm": ("m/s", _MM / STEP_S)}
    unit, conversion = lengths.get(about["unit"], (f"{about['unit']}/s", 1 / STEP_S))
    part = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, part)
        _relink(part, Path(path).resolve().parent, out.resolve().parent)
        with pynwb.NWBHDF5IO(part, "a") as file:
            nwb = file.read()
            module = nwb.create_processing_module(MODULE, "velocity decoded from spikes")
            module.add(
                pynwb.TimeSeries(
                    name="decoded_velocity",
                    description=f"x and y, decoded by {decoder} (spikereach "
                    f"{spikereach.__version__}) from bins of 4 ms",
                    data=velocity,
                    unit=unit,
                    conversion=conversion,
                    timestamps=times_of(about["stretches"], len(velocity)),
                )
            )
            file.write(nwb)
        os.replace(part, out)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno is None:
            raise
        raise WriteError(error.errno, error.strerror, str(out)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _relink(part: Path, before: Path, now: Path) -> None:
    """Let the links of a copy to other files lead from its folder to where they led before."""
    with h5py.File(part, "a") as file:
        for name, link in external_links(file).items():
            del file[name]
            there = os.path.relpath(before / link.filename, now)
            file[name] = h5py.ExternalLink(there, link.path)


def times_of(stretches: list[list[float]], steps: int) -> np.ndarray:
    """Times of the steps of a session on the clock of its NWB file, (steps,) in seconds, from the
    first step of each stretch and the time of that step."""
    first = np.array([step for step, _ in stretches] + [steps], np.int64)
    return np.concatenate(
        [
            start + STEP_S * np.arange(end - begin)
            for (_, start), begin, end in zip(stretches, first, first[1:], strict=False)
        ]
    )
