"""The tables: from collected results (`reporting.collect`) and published figures to a `Table`.

Every number of ours is the mean over the sessions for each seed, then mean and population
standard deviation over the seeds. One seed has no deviation, and none is printed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from spikereach.config import System
from spikereach.published import figures
from spikereach.reporting.captions import caption, comment
from spikereach.reporting.collect import ResultError
from spikereach.reporting.comparisons import comparisons
from spikereach.reporting.imported import imported
from spikereach.reporting.render import MISSING, Column, Table

Systems = Mapping[str, System]
"""The rows of a table in order: system name to its entry in the configuration."""

# ---- The tables ------------------------------------------------------------------------


def coopt(frame: pd.DataFrame, systems: Systems, *, commit: str) -> Table:
    """Co-optimisation track: accuracy, footprints, operations and the real-time verdict.

    Args:
        frame: from `collect`, both kinds of result files.
        systems: rows, in order; `published` of each names the figures printed beside it.
        commit: of the code that made the results, as `provenance.short_commit` gives it.
    Raises:
        ResultError: when a system has no results, or the frame lacks real-time results.
    """
    frame, rows = _rows(
        frame, systems, ["r2", "footprint", "deployment_bytes", "macs", "acs", "realtime"]
    )
    return Table(
        name="coopt",
        caption=caption(
            "Co-optimisation track. R² over the whole test split; footprint in bytes as NeuroBench "
            "counts it (NB) and as deployed (weights at their bit width, streaming buffers, "
            "states); published ones (publ.) are of the latter kind for the nets of Krausse et al. "
            "and Vasilache et al., of the former for the others; effective multiply-accumulates "
            "(MACs) and accumulates (ACs) per 4 ms step",
            frame,
            commit=commit,
            rows=rows,
            spread=True,
            costs=True,
        ),
        comment=comment(frame, commit),
        values=_values(
            rows,
            ["r2", "r2_std", "footprint", "macs", "macs_std", "acs", "acs_std", "realtime"],
            ["weights_bytes", "buffers_bytes", "states_bytes", "deployment_bytes"],
        ),
        columns=[
            *_names(rows),
            *_beside(rows, "R²", "r2", _r2, _r2, std=True),
            Column("NB", [_count(row["footprint"]) for row in rows], "Footprint"),
            Column("deployed", [_count(row["deployment_bytes"]) for row in rows], "Footprint"),
            Column("publ.", [_count(_printed(row, "footprint")) for row in rows], "Footprint"),
            *_beside(rows, "MACs", "macs", _cost, _as_printed, std=True),
            *_beside(rows, "ACs", "acs", _cost, _as_printed, std=True),
            *_beside(rows, "Real-time", "realtime", _yes, _yes, align="c"),
        ],
    )


def realtime(frame: pd.DataFrame, systems: Systems, *, commit: str) -> Table:
    """Latency, execution rate, look-ahead and the verdict; arguments as for :func:`coopt`."""
    needed = ["latency_ms", "execution_rate_hz", "lookahead_declared", "lookahead_measured"]
    frame, rows = _rows(frame, systems, [*needed, "stream_buffer_bytes", "realtime"])
    latency, rate = figures.realtime_rule()
    return Table(
        name="realtime",
        caption=caption(
            "Real-time capability: latency and rate of new predictions, bins of future input a "
            "prediction depends on (as declared by the decoder, and as measured by perturbing "
            "future bins), and bytes a streaming implementation keeps, mean over the sessions. "
            f"Real-time means at most {latency:g} ms and at least {rate:g} Hz",
            frame,
            commit=commit,
            rows=rows,
        ),
        comment=comment(frame, commit),
        values=_values(
            rows,
            ["latency_ms", "execution_rate_hz", "realtime"],
            ["lookahead_declared", "lookahead_measured", "stream_buffer_bytes"],
        ),
        columns=[
            *_names(rows),
            *_beside(rows, "Latency (ms)", "latency_ms", _as_printed, _as_printed),
            *_beside(rows, "Rate (Hz)", "execution_rate_hz", _rate, _rate),
            Column(
                "declared", [_count(r["lookahead_declared"]) for r in rows], "Look-ahead (bins)"
            ),
            Column(
                "measured", [_count(r["lookahead_measured"]) for r in rows], "Look-ahead (bins)"
            ),
            Column("Buffers (bytes)", [_count(row["stream_buffer_bytes"]) for row in rows]),
            *_beside(rows, "Real-time", "realtime", _yes, _yes, align="c"),
        ],
    )


def r2(frame: pd.DataFrame, systems: Systems, *, commit: str) -> Table:
    """Accuracy track: R2 of both velocity components; arguments as for :func:`coopt`."""
    frame, rows = _rows(frame, systems, ["r2", "r2_x", "r2_y", "parameters"])
    return Table(
        name="r2",
        caption=caption(
            "Accuracy track. R² over the whole test split: mean of the horizontal (x) and vertical "
            "(y) velocity's; parameters as the mean over the sessions",
            frame,
            commit=commit,
            rows=rows,
            spread=True,
        ),
        comment=comment(frame, commit),
        values=_values(
            rows, ["r2", "r2_std"], ["r2_x", "r2_x_std", "r2_y", "r2_y_std", "parameters"]
        ),
        columns=[
            *_names(rows),
            Column("x", [_r2(row["r2_x"], row["r2_x_std"]) for row in rows], "R² per component"),
            Column("y", [_r2(row["r2_y"], row["r2_y_std"]) for row in rows], "R² per component"),
            *_beside(rows, "R²", "r2", _r2, _r2, std=True),
            Column("Parameters", [_count(row["parameters"]) for row in rows]),
        ],
    )


def cost(frame: pd.DataFrame, systems: Systems, *, commit: str) -> Table:
    """All of NeuroBench's complexity metrics; arguments as for :func:`coopt`."""
    metrics = ["footprint", "connection_sparsity", "activation_sparsity", "dense", "macs", "acs"]
    frame, rows = _rows(frame, systems, metrics)
    return Table(
        name="cost",
        caption=caption(
            "Cost by NeuroBench: footprint in bytes (published ones of the nets of Krausse et al. "
            "and Vasilache et al. include buffers), share of weights and of activations that are "
            "zero, dense operations and effective MACs and ACs per 4 ms step; means over the "
            "sessions and seeds",
            frame,
            commit=commit,
            rows=rows,
            costs=True,
        ),
        comment=comment(frame, commit),
        values=_values(rows, metrics, [metric + _STD for metric in metrics]),
        columns=[
            *_names(rows)[:1],
            *_beside(rows, "Footprint", "footprint", _count, _count),
            *_beside(rows, "Connection sp.", "connection_sparsity", _share, _share),
            *_beside(rows, "Activation sp.", "activation_sparsity", _share, _share),
            *_beside(rows, "Dense", "dense", _count, _count),
            *_beside(rows, "MACs", "macs", _count, _count),
            *_beside(rows, "ACs", "acs", _count, _count),
        ],
    )


def per_session(frame: pd.DataFrame, systems: Systems, *, commit: str) -> Table:
    """R2 per session and system, with a second row where it is published per session."""
    frame, rows = _rows(frame, systems, ["r2"])
    order = frame.drop_duplicates("session").sort_values(["monkey", "session"])
    monkeys = dict(zip(order["session"], order["monkey"], strict=True))
    lines: list[dict[str, Any]] = []
    for row in rows:
        part = frame[frame["system"] == row["system"]]
        ours = {s: _spread(part.loc[part["session"] == s, "r2"]) for s in monkeys}
        lines.append({"system": row["system"], "origin": "ours", "sessions": ours})
        lines[-1]["mean"] = (row["r2"], row["r2_std"])
        seeds = figures.per_session(row["published"].system, "r2") if row["published"] else {}
        if seeds.keys() & monkeys.keys():
            printed = figures.per_session_std(row["published"].system)
            theirs = {s: _spread(pd.Series(v), printed.get(s)) for s, v in seeds.items()}
            lines.append({"system": row["system"], "origin": "published", "sessions": theirs})
            whole = seeds.keys() == monkeys.keys()  # their mean is over all six sessions
            mean = (row["published"].r2, row["published"].r2_std)
            lines[-1]["mean"] = mean if whole else (None, None)
    values = [
        {
            "system": line["system"],
            "origin": line["origin"],
            "session": session,
            "r2": spread[0],
            "r2_std": spread[1],
        }
        for line in lines
        for session, spread in {**line["sessions"], "mean": line["mean"]}.items()
        if session in monkeys or session == "mean"
    ]
    names = [x["system"] if x["origin"] == "ours" else "\u2003published" for x in lines]
    return Table(
        name="per_session",
        caption=caption(
            "R² per session over the whole test split; published rows where a paper gives sessions",
            frame,
            commit=commit,
            rows=rows,
            spread=True,
        ),
        comment=comment(frame, commit),
        values=pd.DataFrame(values),
        columns=[
            Column("System", names, align="l"),
            *(
                Column(
                    session.removeprefix(f"{monkey}_"),
                    [_r2(*line["sessions"].get(session, (None, None))) for line in lines],
                    monkey,
                )
                for session, monkey in monkeys.items()
            ),
            Column("Mean", [_r2(*line["mean"]) for line in lines]),
        ],
    )


# ---- Rows ------------------------------------------------------------------------------

_STD = "_std"

_WORST = {"realtime": min, "latency_ms": max, "execution_rate_hz": min}
_WORST |= dict.fromkeys(("lookahead_declared", "lookahead_measured"), max)


def _rows(
    frame: pd.DataFrame, systems: Systems, needed: list[str]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The results of these systems alone, and one row for each: its metrics with their
    deviations, and its published `Figures` or None."""
    lacking = [column for column in needed if column not in frame]
    if lacking:
        raise ResultError(
            f"the results lack {', '.join(lacking)}: give the metrics.json and the realtime.json "
            "of every run"
        )
    rows = []
    for name, system in systems.items():
        part = frame[frame["system"] == name]
        if part.empty:
            known = ", ".join(sorted(frame["system"].unique()))
            raise ResultError(f"no results of the system {name!r}; there are some of: {known}")
        row: dict[str, Any] = {"system": name, "spiking": system.spiking}
        row["sessions"], row["seeds"] = part["session"].nunique(), part["seed"].nunique()
        row["published"] = figures.system(system.published) if system.published else None
        by_seed = part.groupby("seed")
        for metric in part.select_dtypes(["number", "bool"]).columns.drop("seed"):
            if metric in _WORST:
                row[metric] = _WORST[metric](part[metric])
            else:
                row[metric], row[metric + _STD] = _spread(by_seed[metric].mean())
        rows.append(row)
    return frame[frame["system"].isin(systems)], rows


def _spread(values: pd.Series, std: float | None = None) -> tuple[float, float | None]:
    """Mean and population deviation over seeds; no deviation of a single value."""
    if len(values) > 1:
        std = float(values.std(ddof=0))
    return float(values.mean()), std


def _values(rows: list[dict[str, Any]], beside: list[str], further: list[str]) -> pd.DataFrame:
    """The CSV: each of the metrics ``beside`` with its published value, then ``further`` ones."""
    lines = []
    for row in rows:
        line = {key: row[key] for key in ("system", "spiking", "sessions", "seeds")}
        for key in beside:
            line[key] = row[key]
            line[f"{key}_published"] = getattr(row["published"], key, None)
        line |= {key: row[key] for key in further}
        line["published_source"] = getattr(row["published"], "source", None)
        lines.append(line)
    # object columns: integers stay integers beside empty fields
    return pd.DataFrame(lines, dtype=object)


# ---- Printed cells ---------------------------------------------------------------------


def _names(rows: list[dict[str, Any]]) -> list[Column]:
    return [
        Column("System", [row["system"] for row in rows], align="l"),
        Column("Spiking", [_yes(row["spiking"]) for row in rows], align="c"),
    ]


def _beside(rows, group, metric, ours, theirs, *, std=False, align="r") -> list[Column]:
    """Two columns: ours and the published figures of one metric, with deviations or without."""
    keys = [metric, metric + _STD] if std else [metric]
    printed = [[_printed(row, key) for key in keys] for row in rows]
    return [
        Column("ours", [ours(*(row[key] for key in keys)) for row in rows], group, align),
        Column("publ.", [theirs(*values) for values in printed], group, align),
    ]


def _printed(row: dict[str, Any], metric: str) -> float | None:
    return getattr(row["published"], metric, None)


def _pair(value: str, std: str | None) -> str:
    return value if std is None else f"{value} ± {std}"


def _absent(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _r2(value: float | None, std: float | None = None) -> str:
    if _absent(value):
        return MISSING
    return _pair(_minus(f"{value:.3f}"), None if _absent(std) else f"{std:.3f}")


def _count(value: float | None) -> str:
    return MISSING if _absent(value) else f"{round(value):,}"


def _share(value: float | None) -> str:
    return MISSING if _absent(value) else f"{value:.3f}"


def _rate(value: float | None) -> str:
    return MISSING if _absent(value) else f"{value:.3g}"


def _cost(value: float, std: float | None) -> str:
    """Operations per step: one decimal below 1,000, none above; an exact 0 is bare."""
    if value == 0 and not std:
        return "0"
    form = "{:,.1f}" if value < 1000 else "{:,.0f}"
    return _pair(form.format(value), None if _absent(std) else form.format(std))


def _as_printed(value: float | None, std: float | None = None) -> str:
    """A published figure with the digits its paper gives."""
    if _absent(value):
        return MISSING
    return _pair(f"{value:,}".removesuffix(".0"), None if std is None else f"{std:,}")


def _yes(value: bool | None) -> str:
    return MISSING if value is None else ("yes" if value else "no")


def _minus(text: str) -> str:
    return text.replace("-", "−")


BUILDERS = {
    "coopt": coopt,
    "realtime": realtime,
    "r2": r2,
    "cost": cost,
    "per_session": per_session,
    "comparisons": comparisons,
    "imported": imported,
}
"""Tables made from results, by name; all take (frame, systems, commit=...)."""
