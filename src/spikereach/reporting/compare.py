"""Two runs, two results or two seeds side by side, metric by metric."""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from tabulate import tabulate

from spikereach.reporting.cells import bits, minus, pair, seeds_of, spread, yes
from spikereach.reporting.collect import KEY, ResultError, gather

Conditions = Callable[[Path], Mapping[str, Any]]
"""What the job ran with that wrote a file (`workflow.manifest.conditions`); empty: unknown."""

_PLACES = {
    "results/evaluate/*/*/seed*/": "run",
    "evaluate/*/*/seed*/": "run",
    "*/*/seed*/": "run",
    "*/seed*/": "system",
    "seed*/": "session",
    "": "seed",
}
"""Where results lie below a folder -> what the folder is of."""
_WORDS = {
    "run": "of a run",
    "system": "of a system",
    "session": "of a system on one session",
    "seed": "of one seed",
}
Key = tuple[str | None, str | None]
"""System and session of results on both sides that belong together; seeds are pooled. None where
the two sides may differ: of a system, in its name; of a session or a seed, in both."""
_ABOUT = {*KEY, "monkey", "source", "commit"}
"""Columns that are no metrics."""
_DEVIATION = "±: population standard deviation over seeds"
SHOWN = 5
"""Names that a line lists; of more it gives the number."""


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two."""

    path: Path
    kind: str
    """run, system, session or seed."""
    frame: pd.DataFrame
    """From `collect.gather`."""
    made_by: Mapping[str, list[str]]
    """Commits, sources of data and, from manifests, digests of the configurations."""
    settings: frozenset[tuple[str, str]] | None
    """Dotted keys and JSON of what the configurations have other than ``config.yaml``; None where
    no manifest tells."""

    def about(self) -> str:
        names = {name: self.frame[name].unique() for name in KEY[:2]}
        systems, sessions = (
            found[0] if len(found) == 1 else f"{len(found)} {name}s"
            for name, found in names.items()
        )
        return f"{self.path}: {systems} on {sessions}, {seeds_of(self.frame)}"


@dataclass(frozen=True)
class Row:
    """A metric on both sides: means over the seeds, and their population deviations."""

    system: str | None
    session: str | None
    """None where it does not tell rows apart."""
    metric: str
    a: float | str
    a_std: float | None
    """None for one seed."""
    b: float | str
    b_std: float | None
    difference: float | None
    """b - a; None of what is no number."""

    @property
    def equal(self) -> bool:
        return (self.a, self.a_std) == (self.b, self.b_std)

    @property
    def spread(self) -> bool:
        return (self.a_std, self.b_std) != (None, None)

    def cells(self) -> list[str]:
        """a, b and b - a as text, with four significant digits or all those before the point."""
        if self.difference is None:
            return [self.a, self.b, "" if self.equal else "other"]
        numbers = [self.a, self.b, self.a_std or 0.0, self.b_std or 0.0]
        whole = all(number.is_integer() for number in numbers)
        form = ",.0f" if whole else _form(max(map(abs, numbers)))
        means = [(self.a, self.a_std), (self.b, self.b_std)]
        cells = [pair(format(mean, form), std, f"{{:{form}}}") for mean, std in means]
        difference = format(self.difference, f"+{form}")
        if math.isclose(self.a, self.b, rel_tol=1e-12):  # but for the rounding of a mean
            difference = "0"
        elif not difference.strip("+-0.,"):  # smaller than the last digit
            difference = format(self.difference, "+.1g")
        return list(map(minus, [*cells, difference]))


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found."""

    a: Side
    b: Side
    rows: list[Row]
    """By metric, in the order of `evaluation.records`, then by system and session."""
    only_a: list[str]
    """Systems, or sessions of systems, as SYSTEM/SESSION."""
    only_b: list[str]
    seeds: list[str]
    """Of runs and systems, those whose seeds are not the same on both sides, likewise."""

    def record(self) -> dict[str, Any]:
        """All of it, JSON-like."""
        return {
            **{
                name: {"folder": str(side.path), **side.made_by}
                for name, side in (("a", self.a), ("b", self.b))
            },
            "settings": self.settings(),
            "only_a": self.only_a,
            "only_b": self.only_b,
            "other_seeds": self.seeds,
            "rows": [asdict(row) for row in self.rows],
        }

    def settings(self) -> list[str]:
        """Dotted keys of the configuration that differ, as far as manifests tell."""
        if self.a.settings is None or self.b.settings is None:
            return []
        return sorted({key for key, _ in self.a.settings ^ self.b.settings})

    def text(self) -> str:
        """For reading. Of several rows per metric, metrics without a difference are only named."""
        differing = {row.metric for row in self.rows if not row.equal}
        several = len({(row.system, row.session) for row in self.rows}) > 1
        rows = [row for row in self.rows if row.metric in differing or not several]
        equal = [row.metric for row in self.rows if row.metric not in differing and several]
        blocks = [
            "\n".join([f"A  {self.a.about()}", f"B  {self.b.about()}", *self._made()]),
            _table(rows) if rows else "",
            _DEVIATION if any(row.spread for row in rows) else "",
            _listed("equal in both: ", dict.fromkeys(equal)),
            _listed("only in A: ", self.only_a),
            _listed("only in B: ", self.only_b),
            _listed("means over other seeds in A than in B: ", self.seeds),
        ]
        return "\n\n".join(filter(None, blocks))

    def _made(self) -> list[str]:
        """By what one was made otherwise than the other, in one line."""
        told = [
            f"{what} {', '.join(a)} (A) and {', '.join(b)} (B)"
            for (what, a), b in zip(self.a.made_by.items(), self.b.made_by.values(), strict=True)
            if a != b
        ]
        if keys := self.settings():
            told.append(f"settings {_some(keys)}")
        return [f"made with different {'; '.join(told)}"] if told else []


def compare(first: Path, second: Path, conditions: Conditions) -> Comparison:
    """Compare two folders of one kind: runs, or results of systems, of sessions or of seeds.

    Args:
        first: a run folder; or ``results/evaluate/SYSTEM/SESSION/seedN``, or a folder above it.
        second: likewise.
        conditions: by a file, what it was made with.
    Raises:
        ResultError: a folder without results, folders of different kinds, results that have
            nothing in common, or a damaged file.
    """
    a, b = (_side(path, conditions) for path in (first, second))
    if a.kind != b.kind:
        raise ResultError(
            f"{a.path} holds results {_WORDS[a.kind]}, {b.path} {_WORDS[b.kind]}: give two folders "
            "of one kind"
        )
    parts_a, parts_b = (_parts(side) for side in (a, b))
    common = [key for key in parts_a if key in parts_b]
    only_a, only_b = _only(parts_a, parts_b), _only(parts_b, parts_a)
    if not common:
        raise ResultError(
            f"{a.path} and {b.path} have nothing in common: {_some(only_a)} in the first, "
            f"{_some(only_b)} in the second"
        )
    metrics = [name for name in a.frame if name not in _ABOUT]
    rows = [
        _row(key, metric, parts_a[key][metric], parts_b[key][metric])
        for metric in metrics
        for key in common
    ]
    seeds = [
        "/".join(filter(None, key))
        for key in common
        if any(key) and set(parts_a[key]["seed"]) != set(parts_b[key]["seed"])
    ]
    return Comparison(a, b, rows, only_a, only_b, seeds)


def _side(path: Path, conditions: Conditions) -> Side:
    found = ((sorted(path.glob(f"{below}metrics.json")), kind) for below, kind in _PLACES.items())
    files, kind = next(filter(itemgetter(0), found), ([], ""))
    if not files:
        is_folder = "holds no results" if path.is_dir() else "is no folder"
        problem = is_folder if path.exists() else "does not exist"
        raise ResultError(
            f"{path}: {problem}; give a run folder, or results/evaluate/SYSTEM/SESSION/seedN or a "
            "folder above it"
        )
    frame = gather(each for file in files for each in (file, file.with_name("realtime.json")))
    known = {each.get("config", "unknown"): each for each in map(conditions, files) if each}
    made_by = {
        "commit": sorted(frame["commit"].unique()),
        "configuration": sorted(each[:12] for each in known) or ["unknown"],
        "source of data": sorted(frame["source"].unique()),
    }
    settings = {item for each in known.values() for item in _flat(each.get("overrides", {}))}
    return Side(path, kind, frame, made_by, frozenset(settings) if known else None)


def _flat(nested: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Dotted key and JSON of each value."""
    items = []
    for key, value in nested.items():
        inner = isinstance(value, Mapping)
        items += _flat(value, f"{above}{key}.") if inner else [(f"{above}{key}", json.dumps(value))]
    return items


def _parts(side: Side) -> dict[Key, pd.DataFrame]:
    """What is compared, each with its seeds."""
    if side.kind in ("session", "seed"):
        return {(None, None): side.frame}
    if side.kind == "system":
        return {(None, session): part for session, part in side.frame.groupby("session")}
    return dict(list(side.frame.groupby(["system", "session"])))


def _only(here: Collection[Key], there: Collection[Key]) -> list[str]:
    """What is not there; of a system that is not there at all, its name alone."""
    systems = {system for system, _ in there}
    names = [
        "/".join(filter(None, key)) if key[0] in systems else key[0]
        for key in here
        if key not in there
    ]
    return list(dict.fromkeys(names))


def _row(key: Key, metric: str, a: pd.Series, b: pd.Series) -> Row:
    if is_numeric_dtype(a) and not is_bool_dtype(a):
        (mean_a, std_a), (mean_b, std_b) = spread(a), spread(b)
        stds = (None if math.isnan(std) else std for std in (std_a, std_b))
        return Row(*key, metric, mean_a, next(stds), mean_b, next(stds), mean_b - mean_a)
    text = yes if is_bool_dtype(a) else bits
    a, b = (", ".join(dict.fromkeys(map(text, values))) for values in (a, b))
    return Row(*key, metric, a, None, b, None, None)


def _table(rows: Sequence[Row]) -> str:
    names = [name for name in KEY[:2] if getattr(rows[0], name)]
    shown = [[row.metric, *(getattr(row, name) for name in names), *row.cells()] for row in rows]
    align = ["left"] * (1 + len(names)) + ["right"] * 3
    headings = ["metric", *names, "A", "B", "B − A"]
    return tabulate(shown, headings, "plain", colalign=align, disable_numparse=True)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _listed(before: str, names: Collection[str]) -> str:
    """Empty where there are none."""
    return before + ", ".join(names) if names else ""


def _form(value: float) -> str:
    """How numbers up to this one are written: four significant digits, or all before the point."""
    if 0 < value < 1e-3:
        return ".3g"
    return f",.{max(0, 3 - math.floor(math.log10(value))) if value else 0}f"
