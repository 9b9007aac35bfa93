"""Tables of results, with words on where their numbers come from."""

from __future__ import annotations

from typing import Any

import pandas as pd

from spikereach.reporting.collect import source_of
from spikereach.reporting.render import Column, Table


def result_table(
    name: str,
    what: str,
    frame: pd.DataFrame,
    values: pd.DataFrame,
    columns: list[Column],
    *,
    stub: int = 1,
    rows: list[dict[str, Any]] = (),
    costs: bool = False,
) -> Table:
    """A table whose caption says what it shows, from which data, and against which papers.

    ``what`` are the table's own sentences, without the last full stop; ``rows``, where published
    figures stand beside ours, those of `cells.Rows`; with ``costs`` the table holds figures that
    NeuroBench counts over the test steps. All others are as of `Table`.
    """
    source = source_of(frame)
    names = sorted(frame["session"].unique())
    sessions, seeds = ", ".join(names), _seeds(frame)
    commits = ", ".join(sorted(frame["commit"].unique()))  # of the code that made the results
    parts = [what + "."]
    deviations = any("±" in cell for column in columns for cell in column.cells)
    if deviations and frame["seed"].nunique() > 1:
        parts.append("± is the population standard deviation over seeds.")
    plural = "s" * (len(names) > 1)
    parts.append(f"{source.caption}, session{plural} {sessions}; {seeds}; commit {commits}.")
    sliced = frame[frame["verified_steps"] < frame["test_steps"]]
    if costs and len(sliced):
        parts.append(
            "Sparsities and operations are counted over the whole test split; NeuroBench itself "
            f"counted at least the first {sliced['verified_steps'].min():,} steps and agreed."
        )
    cited = sorted({row["source_published"] for row in rows} - {None})
    if cited:
        papers = ", ".join(f"{key[:-4].title()} et al. {key[-4:]}" for key in cited)
        parts.append(f"Published (publ.): {papers}; means over the six recordings I1 to L3.")
        if source.apart:
            parts.append(source.apart)
    comment = (
        f"source: {source.name}",
        f"sessions: {sessions}",
        seeds.replace(" ", ": ", 1),
        f"commit: {commits}",
    )
    return Table(name, " ".join(parts), comment, values, columns, stub)


def _seeds(frame: pd.DataFrame) -> str:
    """``seeds 0, 1, 2``, and which systems have other ones."""
    by_system = {name: sorted(part.unique()) for name, part in frame.groupby("system")["seed"]}
    every = sorted(frame["seed"].unique())
    others = [
        f"{name}: {', '.join(map(str, own))}" for name, own in by_system.items() if own != every
    ]
    text = f"seed{'s' * (len(every) > 1)} {', '.join(map(str, every))}"
    return text + (f" ({'; '.join(others)})" if others else "")
