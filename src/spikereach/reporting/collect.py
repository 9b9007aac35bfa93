"""Result files of the evaluation, read into one tidy frame: a row per system, session, seed."""

import json
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from spikereach.data.sources import Source, named
from spikereach.evaluation.records import Format, Loop, Metrics, Realtime
from spikereach.files import read_error
from spikereach.kinds import Kind, again, mistaken
from spikereach.provenance import short_commit
from spikereach.records import faults

KEY = ["system", "session", "seed"]

_RECORDS = {"metrics.json": Metrics, "realtime.json": Realtime}
_KINDS = {"metrics.json": Kind.METRICS, "realtime.json": Kind.REALTIME}


class ResultError(ValueError):
    """A result file is missing, damaged, or does not belong with the others."""


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read ``metrics.json`` and ``realtime.json`` files into one frame, for means over sessions.

    Args, returns and raises as of `gather`; raises also for systems that were not evaluated on
    the same sessions, and for results from different data sources.
    """
    frame = gather(paths)
    _comparable(frame)
    return frame


def gather(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read ``metrics.json`` and ``realtime.json`` files into one frame.

    Args:
        paths: the files, in any order; either kind may be left out altogether.
    Returns:
        a row per system, session and seed, sorted by them; its columns are the fields of the
        records of `evaluation.records` that were given, and ``commit``, as captions print it.
    Raises:
        ResultError: for an unreadable file, missing fields (both named), a result given
            twice, or a run with only one of the two files.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(map(Path, paths)):
        if path.name not in _RECORDS:
            raise ResultError(f"{path}: expected a file named {' or '.join(_RECORDS)}")
        rows.setdefault(path.name, []).append(_read(path))
    if not rows:
        raise ResultError("no result files were given")
    frames = {name: pd.DataFrame(found) for name, found in rows.items()}
    for name, frame in frames.items():
        for run in _runs(frame[frame.duplicated(KEY)]):
            raise ResultError(f"{name} of {run} was given twice")
    for name, other in permutations(frames, 2):
        for run in sorted(_runs(frames[other]) - _runs(frames[name])):
            raise ResultError(f"{name} of {run} is missing, {other} is there")
    first, *others = frames.values()
    frame = first.merge(*others, on=KEY) if others else first
    return frame.sort_values(KEY, ignore_index=True)


def _runs(frame: pd.DataFrame) -> set[str]:
    return {"/".join(map(str, run)) for run in frame[KEY].itertuples(index=False)}


def _read(path: Path) -> dict[str, Any]:
    kind = _KINDS[path.name]
    try:
        if problem := mistaken(path, kind):
            raise ResultError(f"{path}: {problem}")
        record = _RECORDS[path.name].model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise read_error(path, error) or error from error
    except ResultError:
        raise
    except ValidationError as error:
        raise ResultError(f"{path}: {faults(error)}; {again(path, kind)}") from None
    except ValueError as error:
        raise ResultError(f"{path}: not valid JSON ({error}); {again(path, kind)}") from None
    row = record.model_dump(exclude={"parts", "provenance"})
    if isinstance(record, Metrics):
        row["commit"] = short_commit(record.provenance.commit, record.provenance.dirty)
    return row


def _comparable(frame: pd.DataFrame) -> None:
    """Means over sessions only compare when every system and seed has all of them."""
    sessions = set(frame["session"])
    for (system, seed), part in frame.groupby(["system", "seed"]):
        missing = sessions - set(part["session"])
        if missing:
            raise ResultError(
                f"{system} with seed {seed} was not evaluated on {', '.join(sorted(missing))}, "
                "other systems were; evaluate it there or leave those results out"
            )
    if "source" in frame and frame["source"].nunique() > 1:
        sources = ", ".join(sorted(frame["source"].unique()))
        raise ResultError(f"results come from different data sources ({sources}): tabulate one")


def source_of(frame: pd.DataFrame) -> type[Source]:
    """Where the recordings of these results are from."""
    (name,) = frame["source"].unique()
    return named(name)


def formats(part: pd.DataFrame) -> tuple[Format, Format]:
    """Number formats of the weights and of the buffers of one system.

    Args:
        part: rows of `collect` of this system alone.
    Raises:
        ResultError: when its runs have different ones.
    """
    found = set(zip(part["weight_format"], part["buffer_format"], strict=True))
    if len(found) != 1:
        (name,) = part["system"].unique()
        raise ResultError(f"results of {name} have different number formats: evaluate it anew")
    return found.pop()


def check_present(frame: pd.DataFrame, systems: Iterable[str], purpose: str = "to draw") -> None:
    """Every one of the systems has results.

    Raises:
        ResultError: naming the first without.
    """
    for name in systems:
        if name not in set(frame["system"]):
            raise ResultError(f"no results of the system {name!r} {purpose}")


def read_loop(path: str | Path) -> Loop:
    """A ``loop.json``.

    Raises:
        ResultError: it is damaged, or of another version.
        ReadError: it cannot be read.
    """
    try:
        return Loop.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise read_error(path, error) or error from error
    except ValidationError as error:
        raise ResultError(f"{path}: {faults(error)}; delete it and run it again") from None
