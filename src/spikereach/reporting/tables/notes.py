"""What stands under tables: how published deviations were formed, where sessions are from."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from spikereach.published import figures
from spikereach.reporting.cells import as_printed, r2, spread

_OVER = {
    "seeds": "over seeds, of the mean over the sessions, as ours",
    "sessions": "the mean of the six sessions' deviations over seeds",
    "runs": "over all 30 runs, five seeds on six sessions",
    None: "unknown",
}

Row = Mapping[str, Any]
"""One of the rows of `cells.Rows`."""


def deviations(rows: Sequence[Row], metrics: Mapping[str, str]) -> str:
    """How each published ± was formed; empty where the rows have none.

    Args:
        rows: those of the table.
        metrics: key of `Figures` -> its name in the table.
    """
    found: dict[str | None, dict[str, list[str]]] = {way: {} for way in _OVER}
    for row in rows:
        printed = [key for key in metrics if row[f"{key}_std_published"] is not None]
        ways = {key: figures.std_over(row["system_published"], key) for key in printed}
        for way in set(ways.values()):
            of = _listed([metrics[key] for key in printed if ways[key] == way])
            found[way].setdefault(of, []).append(row["system"])
    parts = [
        f"{'; '.join(f'{of} of {_listed(names)}' for of, names in which.items())}: {_OVER[way]}."
        for way, which in found.items()
        if which
    ]
    return " ".join(["How the published ± were formed.", *parts, *_means(rows)]) if parts else ""


def sessions(rows: Sequence[Row]) -> str:
    """Where the published figures per session are from; empty without rows.

    Args:
        rows: those of the table with such figures.
    """
    if not rows:
        return ""
    by_origin: dict[str, list[str]] = {}
    for row in rows:
        origin = figures.per_session_origin(row["system_published"])
        by_origin.setdefault(origin, []).append(row["system"])
    parts = [f"{_listed(names)}: {origin}." for origin, names in by_origin.items()]
    seeded = [row["system"] for row in rows if len(figures.r2_by_seed(row["system_published"])) > 1]
    if seeded:
        parts.append(f"± of {_listed(seeded)}: over these seeds, divisor n.")
    printed = [row["system"] for row in rows if figures.per_session_std(row["system_published"])]
    if printed:
        parts.append(f"± of {_listed(printed)}: as printed; of the mean, {_OVER['sessions']}.")
    return " ".join(["Where published sessions are from.", *parts, *_means(rows)])


def _means(rows: Sequence[Row]) -> list[str]:
    """What the seeds say of each R2 that is printed with a deviation over all runs."""
    sentences = []
    for row in rows:
        if figures.std_over(row["system_published"], "r2") == "runs":
            seeds = pd.Series(figures.r2_by_seed(row["system_published"]))
            printed = as_printed(row["r2_published"], row["r2_std_published"])
            sentences.append(
                f"The published seeds of {row['system']} have R² {r2(*spread(seeds))} over seeds "
                f"and {r2(seeds.max())} at best; the paper prints {printed}."
            )
    return sentences


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
