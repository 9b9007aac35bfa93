"""Paired tests between systems that were run on the same sessions and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from spikereach.config import System
from spikereach.reporting.captions import caption, comment
from spikereach.reporting.cells import signed
from spikereach.reporting.collect import ResultError
from spikereach.reporting.render import Column, Table


@dataclass(frozen=True)
class Comparison:
    """First minus second system, over pairs of equal session and seed."""

    first: str
    second: str
    pairs: int
    mean_difference: float
    median_difference: float
    statistic: float
    p: float
    sessions: int
    p_sessions: float


def paired_test(frame: pd.DataFrame, first: str, second: str, metric: str = "r2") -> Comparison:
    """Wilcoxon signed-rank test, two-sided, of one metric of two systems.

    Seeds of one session share their data, so ``p`` over all pairs is optimistic;
    ``p_sessions`` takes the mean over seeds first and has one pair per session.

    Args:
        frame: from `collect`.
        first: a system.
        second: the system it is compared with.
        metric: a numeric column of the frame.
    Raises:
        ResultError: when a system is absent, or they lack common sessions and seeds.
    """
    for name in (first, second):
        if name not in set(frame["system"]):
            raise ResultError(f"no results of the system {name!r} to compare")
    wide = frame.pivot(index=["session", "seed"], columns="system", values=metric)
    difference = (wide[first] - wide[second]).dropna()
    if difference.empty:
        raise ResultError(f"{first} and {second} share no session and seed")
    statistic, p = _wilcoxon(difference)
    per_session = difference.groupby("session").mean()
    return Comparison(
        first=first,
        second=second,
        pairs=len(difference),
        mean_difference=float(difference.mean()),
        median_difference=float(difference.median()),
        statistic=statistic,
        p=p,
        sessions=len(per_session),
        p_sessions=_wilcoxon(per_session)[1],
    )


def _wilcoxon(difference: pd.Series) -> tuple[float, float]:
    from scipy.stats import wilcoxon  # slow to import, and only this table needs it

    values = np.asarray(difference, dtype=float)
    if not values.any():  # equal everywhere: scipy gives NaN
        return 0.0, 1.0
    result = wilcoxon(values)
    return float(result.statistic), float(result.pvalue)


def comparisons(frame: pd.DataFrame, systems: Mapping[str, System]) -> Table:
    """A table of paired tests: the first of the systems against each of the others."""
    first, *others = systems
    tests = [paired_test(frame, first, second) for second in others]
    part = frame[frame["system"].isin(systems)]
    return Table(
        name="comparisons",
        caption=caption(
            "Paired comparisons of R²: first minus second system; two-sided Wilcoxon signed-rank "
            "tests over pairs of session and seed, and over sessions (mean of the seeds). Seeds "
            "of a session share its data, so the former is optimistic; p-values are not corrected "
            "for the number of comparisons",
            part,
        ),
        comment=comment(part),
        values=pd.DataFrame(tests, columns=[field.name for field in fields(Comparison)]),
        columns=[
            Column("First", [t.first for t in tests], align="l"),
            Column("Second", [t.second for t in tests], align="l"),
            Column("mean", [signed(t.mean_difference) for t in tests], "Difference of R²"),
            Column("median", [signed(t.median_difference) for t in tests], "Difference of R²"),
            Column("n", [str(t.pairs) for t in tests], "Sessions × seeds"),
            Column("W", [f"{t.statistic:g}" for t in tests], "Sessions × seeds"),
            Column("p", [_p(t.p) for t in tests], "Sessions × seeds"),
            Column("n", [str(t.sessions) for t in tests], "Sessions"),
            Column("p", [_p(t.p_sessions) for t in tests], "Sessions"),
        ],
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
