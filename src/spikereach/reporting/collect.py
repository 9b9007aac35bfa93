"""Result files of the evaluation, read into one tidy frame: a row per system, session, seed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from spikereach.provenance import short_commit

KEY = ["system", "session", "seed"]

#: column of the frame -> where it stands in metrics.json
METRICS = {
    "system": ("system",),
    "session": ("session",),
    "seed": ("seed",),
    "monkey": ("monkey",),
    "source": ("source",),
    "test_steps": ("test_steps",),
    "parameters": ("parameters",),
    "r2": ("r2",),
    "r2_x": ("r2_x",),
    "r2_y": ("r2_y",),
    "footprint": ("neurobench", "footprint"),
    "connection_sparsity": ("neurobench", "connection_sparsity"),
    "activation_sparsity": ("neurobench", "activation_sparsity"),
    "dense": ("neurobench", "dense"),
    "macs": ("neurobench", "effective_macs"),
    "acs": ("neurobench", "effective_acs"),
    "verified_steps": ("neurobench", "verified_steps"),
    "weights_bytes": ("deployment", "weights_bytes"),
    "buffers_bytes": ("deployment", "buffers_bytes"),
    "states_bytes": ("deployment", "states_bytes"),
    "deployment_bytes": ("deployment", "total_bytes"),
    "weight_format": ("deployment", "weight_format"),
    "buffer_format": ("deployment", "buffer_format"),
}

#: the same of realtime.json; wall times stay out, so that tables are repeatable to the byte
REALTIME = {
    "system": ("system",),
    "session": ("session",),
    "seed": ("seed",),
    "lookahead_declared": ("lookahead_declared",),
    "lookahead_measured": ("lookahead_measured",),
    "latency_ms": ("latency_ms",),
    "execution_rate_hz": ("execution_rate_hz",),
    "realtime": ("realtime",),
    "stream_buffer_bytes": ("buffer_bytes",),
}

_LAYOUTS = {"metrics.json": METRICS, "realtime.json": REALTIME}


class ResultError(ValueError):
    """A result file is missing, damaged, or does not belong with the others."""


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read ``metrics.json`` and ``realtime.json`` files into one frame.

    Args:
        paths: the files, in any order; either kind may be left out altogether.
    Returns:
        a row per system, session and seed, sorted by them, with the columns of
        :data:`METRICS` and :data:`REALTIME` of the kinds that were given.
    Raises:
        ResultError: for an unreadable file, a missing key (both named), a result given
            twice, a run with only one of the two files, systems that were not evaluated
            on the same sessions, or results from different data sources.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(map(Path, paths)):
        if path.name not in _LAYOUTS:
            raise ResultError(f"{path}: expected a file named {' or '.join(_LAYOUTS)}")
        rows.setdefault(path.name, []).append(_read(path, _LAYOUTS[path.name]))
    if not rows:
        raise ResultError("no result files were given")
    frames = {name: _unique(pd.DataFrame(found), name) for name, found in rows.items()}
    frame = next(iter(frames.values()))
    if len(frames) == 2:
        _same_runs(frames)
        frame = frames["metrics.json"].merge(frames["realtime.json"], on=KEY, validate="1:1")
    _comparable(frame)
    return frame.sort_values(KEY, ignore_index=True)


def commits(paths: Iterable[str | Path]) -> str:
    """The commits that made these ``metrics.json`` files, for captions.

    Raises:
        ResultError: for an unreadable file, or one without provenance.
    """
    layout = {"commit": ("provenance", "commit"), "dirty": ("provenance", "dirty")}
    found = [_read(Path(path), layout) for path in paths]
    return ", ".join(sorted({short_commit(row["commit"], row["dirty"]) for row in found}))


def _read(path: Path, layout: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror}; evaluate this system first") from None
    except ValueError as error:
        raise ResultError(
            f"{path}: not valid JSON ({error}); delete it and evaluate again"
        ) from None
    row = {}
    for column, keys in layout.items():
        value = content
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                raise ResultError(
                    f"{path}: lacks the key {'.'.join(keys)}; delete it and evaluate again"
                )
            value = value[key]
        row[column] = tuple(value) if isinstance(value, list) else value
    return row


def _unique(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    twice = frame[frame.duplicated(KEY)]
    if len(twice):
        raise ResultError(f"{name} of {_run(twice.iloc[0])} was given twice")
    return frame


def _same_runs(frames: dict[str, pd.DataFrame]) -> None:
    runs = {
        name: set(frame[KEY].itertuples(index=False, name=None)) for name, frame in frames.items()
    }
    for name, other in (("metrics.json", "realtime.json"), ("realtime.json", "metrics.json")):
        for run in sorted(runs[other] - runs[name]):
            raise ResultError(f"{name} of {'/'.join(map(str, run))} is missing, {other} is there")


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


def _run(row: pd.Series) -> str:
    return "/".join(str(row[key]) for key in KEY)
