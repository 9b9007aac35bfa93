"""R2 per session and system, with a second row where it is published per session."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from spikereach.published import figures
from spikereach.reporting.captions import result_table
from spikereach.reporting.cells import Rows, Systems, r2, spread
from spikereach.reporting.render import Column, Table

_UNKNOWN = (math.nan, math.nan)


def per_session(frame: pd.DataFrame, systems: Systems) -> Table:
    rows = Rows(frame, systems, further=["r2"])
    frame = rows.frame
    order = frame.drop_duplicates("session").sort_values(["monkey", "session"])
    monkeys = dict(zip(order["session"], order["monkey"], strict=True))
    lines: list[dict[str, Any]] = []
    for row in rows.rows:
        name, printed = row["system"], row["system_published"]
        part = frame[frame["system"] == name]
        ours = {s: spread(part.loc[part["session"] == s, "r2"]) for s in monkeys}
        ours["mean"] = (row["r2"], row["r2_std"])
        lines.append({"system": name, "origin": "ours", "r2": ours})
        seeds = figures.per_session(printed, "r2") if printed else {}
        if seeds.keys() & monkeys.keys():
            stds = figures.per_session_std(printed)
            theirs = {s: spread(pd.Series(v), stds.get(s, math.nan)) for s, v in seeds.items()}
            whole = seeds.keys() == monkeys.keys()  # their mean is over all six sessions
            theirs["mean"] = (row["r2_published"], row["r2_std_published"]) if whole else _UNKNOWN
            lines.append({"system": name, "origin": "published", "r2": theirs})
    values = [
        line | {"session": session, "r2": mean, "r2_std": std}
        for line in lines
        for session, (mean, std) in line["r2"].items()
        if session in monkeys or session == "mean"
    ]
    names = [x["system"] if x["origin"] == "ours" else "\u2003published" for x in lines]
    columns = [Column("System", names, align="l")]
    for session, monkey in (monkeys | {"mean": ""}).items():
        heading = session.removeprefix(f"{monkey}_") if monkey else "Mean"
        shown = [r2(*line["r2"].get(session, _UNKNOWN)) for line in lines]
        columns.append(Column(heading, shown, monkey))
    return result_table(
        "per_session",
        "R² per session over the whole test split; published rows where a paper gives sessions",
        frame,
        pd.DataFrame(values, columns=["system", "origin", "session", "r2", "r2_std"]),
        columns,
        rows=rows.rows,
    )
