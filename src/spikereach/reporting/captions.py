"""Where the numbers of a table come from, in words for its caption and its comment."""

from __future__ import annotations

from typing import Any

import pandas as pd

from spikereach.reporting.collect import source_of


def caption(
    what: str,
    frame: pd.DataFrame,
    *,
    rows: list[dict[str, Any]] = (),
    spread: bool = False,
    costs: bool = False,
) -> str:
    """What a table shows, from which data, and against which papers.

    Args:
        what: the table's own sentences, without the last full stop.
        frame: the results in the table.
        rows: where published figures stand beside ours, the rows with their `published`.
        spread: whether the table prints deviations over seeds.
        costs: whether the table holds figures that NeuroBench counts over the test steps.
    """
    parts = [what + "."]
    if spread and frame["seed"].nunique() > 1:
        parts.append("± is the population standard deviation over seeds.")
    source = source_of(frame)
    parts.append(
        f"{source.caption}, {_sessions(frame)}; {_seeds(frame)}; commit {_commits(frame)}."
    )
    if costs and (steps := _slice(frame)):
        parts.append(
            "Sparsities and operations are counted over the whole test split; NeuroBench itself "
            f"counted at least the first {steps:,} steps and agreed."
        )
    cited = sorted({row["published"].source for row in rows if row["published"]} - {None})
    if cited:
        papers = ", ".join(f"{key[:-4].title()} et al. {key[-4:]}" for key in cited)
        parts.append(f"Published (publ.): {papers}; means over the six recordings I1 to L3.")
        if source.apart:
            parts.append(source.apart)
    return " ".join(parts)


def comment(frame: pd.DataFrame) -> tuple[str, ...]:
    """The same origin as comment lines."""
    return (
        f"source: {source_of(frame).name}",
        f"sessions: {', '.join(sorted(frame['session'].unique()))}",
        _seeds(frame).replace(" ", ": ", 1),
        f"commit: {_commits(frame)}",
    )


def _commits(frame: pd.DataFrame) -> str:
    """Of the code that made the results."""
    return ", ".join(sorted(frame["commit"].unique()))


def _sessions(frame: pd.DataFrame) -> str:
    names = sorted(frame["session"].unique())
    return f"session{'s' * (len(names) > 1)} {', '.join(names)}"


def _seeds(frame: pd.DataFrame) -> str:
    """``seeds 0, 1, 2``, and which systems have other ones."""
    by_system = {name: sorted(part.unique()) for name, part in frame.groupby("system")["seed"]}
    every = sorted(frame["seed"].unique())
    others = [
        f"{name}: {', '.join(map(str, own))}" for name, own in by_system.items() if own != every
    ]
    text = f"seed{'s' * (len(every) > 1)} {', '.join(map(str, every))}"
    return text + (f" ({'; '.join(others)})" if others else "")


def _slice(frame: pd.DataFrame) -> int | None:
    """Fewest steps that NeuroBench itself evaluated, where not all of the test split."""
    part = frame[frame["verified_steps"] < frame["test_steps"]]
    return None if part.empty else int(part["verified_steps"].min())
