"""Channels of an NWB file: its electrodes or its units, area by area."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spikereach.config.sessions import is_area
from spikereach.data.nwb.series import Fail

if TYPE_CHECKING:
    from pynwb import NWBFile

    from spikereach.config import Nwb

_CALLED = {
    "M1": ("m1", "primary motor", "mop"),
    "S1": ("s1", "primary somatosensory", "ssp"),
    "PMd": ("pmd", "dorsal premotor"),
}
"""Words by which locations name an area, beside its own name."""


@dataclass(frozen=True)
class Channels:
    """C channels, those of an area next to each other."""

    areas: dict[str, int]
    """Channels per area, in order."""
    names: tuple[str, ...]
    units: tuple[tuple[int, ...], ...]
    """Per channel its units, as rows of the table of units."""
    left_out: dict[str, int]
    """Units that are no part of any channel, by their location."""


def channels(nwb: NWBFile, options: Nwb, wanted: Mapping[str, int] | None, fail: Fail) -> Channels:
    """Which units make which channel.

    Args:
        nwb: the open file.
        options: what is configured.
        wanted: areas that the session has, in order, with their channels; None: all that the file
            names, in its order.
        fail: makes the error.
    Raises:
        SessionError: no units, no area to put them in, or another number of channels than wanted.
    """
    if nwb.units is None or not len(nwb.units) or "spike_times" not in nwb.units.colnames:
        raise fail("units", "no unit with spike times", "give the file with the sorted spikes")
    electrode = _electrodes(nwb, fail)
    joined = options.channels or ("units" if electrode is None else "electrodes")
    if joined == "electrodes":
        if electrode is None:
            raise fail("units", "do not name their electrodes", "write nwb: {channels: units}")
        several = next((i for i, rows in enumerate(electrode) if len(rows) > 1), None)
        if several is not None:
            raise fail(
                "units.electrodes",
                f"unit {several} lies on {len(electrode[several])} electrodes",
                "write nwb: {channels: units}",
            )
        locations = [str(each) for each in nwb.electrodes["location"].data[:]]
        owned: list[list[int]] = [[] for _ in locations]
        for unit, rows in enumerate(electrode):
            for row in rows:
                owned[row].append(unit)
        names = _names(nwb, len(locations))
    else:
        locations = _unit_locations(nwb, electrode)
        owned, names = [[unit] for unit in range(len(nwb.units))], None
    return _sorted_by_area(locations, owned, names, options, wanted, fail)


def _sorted_by_area(
    locations: list[str],
    owned: list[list[int]],
    names: list[str] | None,
    options: Nwb,
    wanted: Mapping[str, int] | None,
    fail: Fail,
) -> Channels:
    areas = [area_of(each, options.locations, wanted) for each in locations]
    order = list(wanted or dict.fromkeys(area for area in areas if area is not None))
    found = {area: areas.count(area) for area in order}
    listed = ", ".join(f"{locations.count(each)} at {each!r}" for each in dict.fromkeys(locations))
    if not order:
        raise fail(
            "electrodes.location",
            f"names no area ({listed})",
            "give the session's monkey and areas, and nwb: {locations: {'*': AREA}} where need be",
        )
    if wanted is not None and found != dict(wanted):
        told = [" and ".join(f"{n} {area}" for area, n in each.items()) for each in (found, wanted)]
        raise fail(
            "channels",
            f"the file has {told[0]} (of {listed}), the session {told[1]}",
            "correct `areas` of the session, or `locations` and `channels` under nwb",
        )
    places = [i for area in order for i, each in enumerate(areas) if each == area]
    left_out: dict[str, int] = {}
    for location, area, units in zip(locations, areas, owned, strict=True):
        if area not in found and units:
            left_out[location] = left_out.get(location, 0) + len(units)
    if names is None:
        counted = [f"{area} {n + 1:03d}" for area, count in found.items() for n in range(count)]
    else:
        counted = [names[i] for i in places]
    return Channels(found, tuple(counted), tuple(tuple(owned[i]) for i in places), left_out)


def area_of(
    location: str, locations: Mapping[str, str], wanted: Mapping[str, int] | None
) -> str | None:
    """The area at a location; None where it has none of those that are wanted."""
    if location in locations:
        return locations[location]
    names = list(wanted or _CALLED)
    for name in names:
        if location.casefold() == name.casefold():
            return name
    found = [name for name in names if _called(location, name)]
    if len(found) == 1:
        return found[0]
    if "*" in locations:
        return locations["*"]
    return location if wanted is None and is_area(location) else None


def _called(location: str, name: str) -> bool:
    words = [name.casefold(), *_CALLED.get(name, ())]
    ends = r"[^\W_]"  # M1_left has M1 in it, M10 has not
    apart = rf"(?<!{ends})({'|'.join(map(re.escape, words))})(?!{ends})"
    return re.search(apart, location.casefold()) is not None


def _electrodes(nwb: NWBFile, fail: Fail) -> list[np.ndarray] | None:
    """Rows of the table of electrodes for each unit; None where units do not name them."""
    if "electrodes" not in nwb.units.colnames or nwb.electrodes is None:
        return None
    column = nwb.units["electrodes"]
    if hasattr(column, "target"):  # ragged: any number per unit
        rows, ends = np.asarray(column.target.data[:]), np.asarray(column.data[:])
    else:
        rows = np.asarray(column.data[:])
        ends = np.arange(1, rows.size + 1)
    if rows.size and not 0 <= rows.min() <= rows.max() < len(nwb.electrodes):
        raise fail(
            "units.electrodes",
            f"names row {rows.max()} of {len(nwb.electrodes)} electrodes",
            "export the file anew",
        )
    return np.split(rows, ends[:-1].astype(np.int64))


def _unit_locations(nwb: NWBFile, electrode: list[np.ndarray] | None) -> list[str]:
    """Where each unit lies: its first electrode, or its group; an empty text where none is told."""
    if electrode is not None:
        at = [str(each) for each in nwb.electrodes["location"].data[:]]
        return [at[rows[0]] if rows.size else "" for rows in electrode]
    if "electrode_group" in nwb.units.colnames:
        return [str(group.location) for group in nwb.units["electrode_group"].data[:]]
    return [""] * len(nwb.units)


def _names(nwb: NWBFile, count: int) -> list[str] | None:
    """Names of channels that this project wrote (`writing`)."""
    if "channel_name" not in nwb.electrodes.colnames:
        return None
    names = [str(each) for each in nwb.electrodes["channel_name"].data[:]]
    return names if len(names) == count else None
