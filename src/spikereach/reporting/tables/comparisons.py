"""Paired tests between systems that were run on the same sessions and seeds."""

from typing import Any

import pandas as pd

from spikereach.reporting.cells import Systems, result_table, signed
from spikereach.reporting.collect import ResultError, check_present
from spikereach.reporting.render import Column, Table

_VALUES = [
    *("first", "second", "pairs", "mean_difference", "median_difference", "statistic", "p"),
    *("sessions", "p_sessions"),
]


def comparisons(frame: pd.DataFrame, systems: Systems) -> Table:
    """The first of the systems against each of the others."""
    first, *others = systems
    tests = [paired_test(frame, first, second) for second in others]
    printed = [
        ("mean", "mean_difference", signed, "Difference of R²"),
        ("median", "median_difference", signed, "Difference of R²"),
        ("n", "pairs", str, "Sessions × seeds"),
        ("W", "statistic", "{:g}".format, "Sessions × seeds"),
        ("p", "p", _p, "Sessions × seeds"),
        ("n", "sessions", str, "Sessions"),
        ("p", "p_sessions", _p, "Sessions"),
    ]
    return result_table(
        "comparisons",
        "Paired comparisons of R²: first minus second system; two-sided Wilcoxon signed-rank "
        "tests over pairs of session and seed, and over sessions (mean of the seeds). Seeds "
        "of a session share its data, so the former is optimistic; p-values are not corrected "
        "for the number of comparisons",
        frame[frame["system"].isin(systems)],
        pd.DataFrame(tests, columns=_VALUES),
        [
            *(Column(n.capitalize(), [t[n] for t in tests], align="l") for n in _VALUES[:2]),
            *(Column(head, [form(t[key]) for t in tests], grp) for head, key, form, grp in printed),
        ],
    )


def paired_test(frame: pd.DataFrame, first: str, second: str) -> dict[str, Any]:
    """Wilcoxon signed-rank test, two-sided, of the R2 of two systems: first minus second.

    Seeds of one session share their data, so ``p`` over all pairs is optimistic;
    ``p_sessions`` takes the mean over seeds first and has one pair per session.

    Raises:
        ResultError: when a system is absent, or they lack common sessions and seeds.
    """
    check_present(frame, (first, second), "to compare")
    wide = frame.pivot(index=["session", "seed"], columns="system", values="r2")
    difference = (wide[first] - wide[second]).dropna()
    if difference.empty:
        raise ResultError(f"{first} and {second} share no session and seed")
    per_session = difference.groupby("session").mean()
    statistic, p = _wilcoxon(difference)
    return {
        "first": first,
        "second": second,
        "pairs": len(difference),
        "mean_difference": float(difference.mean()),
        "median_difference": float(difference.median()),
        "statistic": statistic,
        "p": p,
        "sessions": len(per_session),
        "p_sessions": _wilcoxon(per_session)[1],
    }


def _wilcoxon(difference: pd.Series) -> tuple[float, float]:
    from scipy.stats import wilcoxon  # slow to import, and only this table needs it

    if not difference.any():  # equal everywhere: scipy gives NaN
        return 0.0, 1.0
    result = wilcoxon(difference.to_numpy())
    return float(result.statistic), float(result.pvalue)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
