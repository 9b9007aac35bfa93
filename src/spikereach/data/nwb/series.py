"""Time series of an NWB file: which one is meant, its clock and its unit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spikereach.data.errors import SessionError

if TYPE_CHECKING:
    from pynwb import NWBFile, TimeSeries

    from spikereach.config import Nwb

Fail = Callable[[str, str, str], SessionError]
"""The error of a field, its problem and the remedy."""

USUAL = ("cursor_pos", "hand_pos", "finger_pos", "cursor_vel", "hand_vel", "finger_vel")
"""Names of behaviour that are looked for where none is configured, in this order."""

SLOWEST_HZ = 10.0
"""A movement is not sampled more slowly."""

PIECE = 2**16
"""Samples that are read at a time."""

_MM = {"m": 1e3, "meter": 1e3, "metre": 1e3, "cm": 10.0, "centimeter": 10.0, "centimetre": 10.0}
_MM |= {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "um": 1e-3, "micrometer": 1e-3}
_MM |= {"\u00b5m": 1e-3, "\u03bcm": 1e-3, "micrometre": 1e-3}  # micro sign, Greek mu
_MM |= {"in": 25.4, "inch": 25.4, "inche": 25.4}
"""Millimetres per unit of length; a plural's s is taken off."""
_PER_S = {"s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e3, "millisecond": 1e3}
_VELOCITY = re.compile(r"(.+?)\s*(?:/|\bper\b|\*|·|\s)\s*([a-z]+)\s*(?:\^?-1|\*\*-1|⁻¹)?")


@dataclass(frozen=True)
class Unit:
    """What a stated unit means."""

    text: str
    length: float | None
    """In mm; None where it is no length, such as pixels."""
    per_s: float | None
    """Times per second, for a velocity; None: no velocity."""

    @property
    def session(self) -> str:
        """The unit of positions in the session: mm for all lengths."""
        if self.length is not None:
            return "mm"
        return re.split(r"\s*(?:/|\bper\b)", self.text)[0] or "unstated"


def unit_of(text: str) -> Unit:
    """What a unit as NWB states it means, such as ``meters``, ``cm`` or ``mm/s``."""
    lower = text.strip().lower()
    if (length := _singular(_MM, lower)) is not None:
        return Unit(text, length, None)
    match = _VELOCITY.fullmatch(lower)
    if match and (per_s := _singular(_PER_S, match[2])) is not None:
        return Unit(text, _singular(_MM, match[1]), per_s)
    return Unit(text, None, None)


def _singular(known: dict[str, float], text: str) -> float | None:
    return known.get(text, known.get(text.removesuffix("s")))


@dataclass(frozen=True)
class Series:
    """A time series of N samples, read slice by slice."""

    series: TimeSeries
    path: str
    columns: tuple[int, ...]
    fail: Fail
    stated_kind: str | None = None
    slowest_hz: float = SLOWEST_HZ

    @cached_property
    def unit(self) -> Unit:
        return unit_of(self.series.unit or "")

    @property
    def kind(self) -> str:
        """``position`` or ``velocity``: as configured, or by its unit, or else by its name."""
        if self.stated_kind is not None:
            return self.stated_kind
        named = self.unit.length is None and re.search(r"vel(ocity)?$", self.path.lower())
        return "velocity" if self.unit.per_s is not None or named else "position"

    def __len__(self) -> int:
        return int(self.series.data.shape[0])

    def values(self, begin: int, end: int) -> np.ndarray:
        """Samples as stored, (n, len(columns))."""
        part = np.asarray(self.series.data[begin:end])
        return part[:, list(self.columns)] if part.ndim == 2 else part[:, None]

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Factor and offset that bring stored values to the session's unit: mm, or mm/s."""
        unit = (self.unit.length or 1.0) * (self.unit.per_s or 1.0)
        # The schema asks for single precision: 0.001 of a metre is one millimetre exactly.
        factor = float(f"{(self.series.conversion or 1.0) * unit:.7g}")
        return factor, float(self.series.offset or 0.0) * unit

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Stored values in the session's unit; bit for bit as stored where that is theirs."""
        factor, offset = self.scale
        if (factor, offset) == (1.0, 0.0) and values.dtype in (np.float32, np.float64):
            return values
        return values.astype(np.float64) * factor + offset

    @cached_property
    def times(self) -> np.ndarray:
        """Seconds on the file's clock, (N,) float64; a `SessionError` where they are none."""
        count = len(self)
        if count < 2:
            raise self.fail(self.path, f"has {count} samples", "name another series as `behaviour`")
        if self.series.timestamps is None:
            rate, start = self.series.rate, self.series.starting_time or 0.0
            if rate is None or not rate > 0:
                raise self.fail(self.path, f"has the rate {rate}", "state samples per second")
            self._check_rate(rate)
            return start + np.arange(count) * (1 / rate)
        times = np.asarray(self.series.timestamps[:], np.float64)
        if times.shape != (count,):
            raise self.fail(
                self.path, f"has {times.size} timestamps for {count} samples", "give one per sample"
            )
        if not np.isfinite(times).all():
            raise self.fail(self.path, "has timestamps that are NaN", "leave such samples out")
        steps = np.diff(times)
        if steps.min() <= 0:
            index = int(steps.argmin()) + 1
            raise self.fail(
                self.path,
                f"has timestamps that do not increase at sample {index} ({times[index]} s)",
                "sort the samples, each time once",
            )
        self._check_rate(1 / float(np.median(steps)))
        return times

    def _check_rate(self, rate: float) -> None:
        if rate < self.slowest_hz:
            raise self.fail(
                self.path,
                f"has {rate:.3g} samples per second, fewer than {self.slowest_hz:g}",
                "state times in seconds, not in samples or milliseconds",
            )

    @cached_property
    def finite(self) -> np.ndarray:
        """Whether a sample is a number, (N,)."""
        good = np.empty(len(self), bool)
        for begin in range(0, len(self), PIECE):
            part = self.values(begin, begin + PIECE)
            good[begin : begin + len(part)] = np.isfinite(part).all(axis=1)
        return good


def behaviour(nwb: NWBFile, options: Nwb, fail: Fail) -> Series:
    """The series that is decoded.

    Raises:
        SessionError: there is none, several have the name, or it lacks the columns.
    """
    known = _all(nwb)
    if options.behaviour is not None:
        path, series = _named(known, options.behaviour, fail)
    else:
        usual = [name for name in USUAL if _ending(known, name)]
        spatial = [path for path, each in known.items() if _spatial(each)]
        if not usual and len(spatial) != 1:
            raise fail(
                "behaviour", f"none is named {', '.join(USUAL)}; {_listed(known)}", _name_one(known)
            )
        path, series = _named(known, usual[0] if usual else spatial[0], fail)
    shape = tuple(getattr(series.data, "shape", ()))
    if len(shape) != 2 or shape[1] <= max(options.columns):
        raise fail(
            path,
            f"has the shape {shape}, without the columns {list(options.columns)} of x and y",
            "name another series as `behaviour`, or its `columns`",
        )
    return Series(series, path, options.columns, fail, options.kind)


def target(nwb: NWBFile, options: Nwb, fail: Fail) -> Series | None:
    """The series of targets, where the file has it; it may have one sample for each of them."""
    known = _all(nwb)
    if options.target is None or not _ending(known, options.target):
        return None
    path, series = _named(known, options.target, fail)
    shape = tuple(series.data.shape)
    columns = tuple(range(min(2, shape[1]))) if len(shape) == 2 else (0,)
    return Series(series, path, columns, fail, slowest_hz=0.0)


def _all(nwb: NWBFile) -> dict[str, TimeSeries]:
    """All time series by their path, such as behavior/Position/cursor_pos."""
    from pynwb import TimeSeries

    found = {}
    for each in nwb.objects.values():
        if isinstance(each, TimeSeries):
            parts, above = [each.name], each.parent
            while above is not None and above is not nwb:
                parts.append(above.name)
                above = above.parent
            if each.parent is nwb and each.name in nwb.acquisition:
                parts.append("acquisition")
            found["/".join(reversed(parts))] = each
    return found


def _ending(known: dict[str, TimeSeries], name: str) -> list[str]:
    """Paths that are a name or end with it."""
    return [path for path in known if f"/{path}".endswith(f"/{name.strip('/')}")]


def _named(known: dict[str, TimeSeries], name: str, fail: Fail) -> tuple[str, TimeSeries]:
    found = _ending(known, name)
    if not found:
        problem = f"no time series is named {name}; {_listed(known)}"
        raise fail("behaviour", problem, _name_one(known))
    if len(found) > 1:
        raise fail(
            "behaviour",
            f"{name} is the name of {len(found)} time series",
            f"write more of its path: {' or '.join(found)}",
        )
    if not any(getattr(known[found[0]].data, "shape", ())):  # of an absent one, pynwb gives a list
        raise fail(found[0], "has no data", "name another series as `behaviour`")
    return found[0], known[found[0]]


def _spatial(series: TimeSeries) -> bool:
    from pynwb.behavior import SpatialSeries

    return isinstance(series, SpatialSeries)


def _listed(known: dict[str, TimeSeries]) -> str:
    return f"the file has {', '.join(sorted(known)[:20]) or 'no time series at all'}"


def _name_one(known: dict[str, TimeSeries]) -> str:
    if known:
        return "name one of them in the catalogue: nwb: {behaviour: NAME}"
    return "give the file with the movement (a test file of a benchmark is without)"
