"""R2 per session and system, with a second row where it is published per session."""

import math

import pandas as pd

from spikereach.published import figures
from spikereach.reporting.cells import Rows, Systems, r2, result_table, spread
from spikereach.reporting.render import Column, Table
from spikereach.reporting.tables import notes

_UNKNOWN = (math.nan, math.nan)


def per_session(frame: pd.DataFrame, systems: Systems) -> Table:
    rows = Rows(frame, systems, further=["r2"])
    frame = rows.frame
    order = frame.drop_duplicates("session").sort_values(["monkey", "session"])
    monkeys = dict(zip(order["session"], order["monkey"], strict=True))
    lines: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for row in rows.rows:
        name, published = row["system"], row["system_published"]
        part = frame[frame["system"] == name]
        ours = {s: spread(part.loc[part["session"] == s, "r2"]) for s in monkeys}
        lines[name, "ours"] = ours | {"mean": (row["r2"], row["r2_std"])}
        seeds = figures.per_session(published, "r2")
        if seeds.keys() & monkeys.keys():
            stds = figures.per_session_std(published)
            theirs = {s: spread(pd.Series(v), stds.get(s, math.nan)) for s, v in seeds.items()}
            whole = seeds.keys() == monkeys.keys()  # their mean is over all six sessions
            by_seed = pd.Series(figures.r2_by_seed(published))
            theirs["mean"] = spread(by_seed, row["r2_std_published"]) if whole else _UNKNOWN
            lines[name, "published"] = theirs
    shown = monkeys | {"mean": ""}
    values = [
        (*key, session, *numbers)
        for key, line in lines.items()
        for session, numbers in line.items()
        if session in shown
    ]
    names = [name if origin == "ours" else "\u2003published" for name, origin in lines]
    columns = [Column("System", names, align="l")]
    for session, monkey in shown.items():
        heading = session.removeprefix(f"{monkey}_") if monkey else "Mean"
        cells = [r2(*line.get(session, _UNKNOWN)) for line in lines.values()]
        columns.append(Column(heading, cells, monkey))
    printed = [row for row in rows.rows if (row["system"], "published") in lines]
    what = "R² per session over the whole test split"
    return result_table(
        "per_session",
        what + ("; published rows where a paper gives sessions" if printed else ""),
        frame,
        pd.DataFrame(values, columns=["system", "origin", "session", "r2", "r2_std"]),
        columns,
        rows=printed,
        notes=(notes.sessions(printed),),
    )
