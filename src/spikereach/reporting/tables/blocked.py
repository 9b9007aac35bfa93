"""R2 by cross-validation over blocks in time, beside that of the paper's split."""

import pandas as pd

from spikereach.config.sessions import unfolded
from spikereach.reporting.cells import Systems, r2, result_table, share, spread, yes
from spikereach.reporting.collect import check_present
from spikereach.reporting.render import Column, Table

_VALUES = ["system", "protocol", "session", "fold", "seed", "r2"]


def blocked(frame: pd.DataFrame, systems: Systems, folds: int, gap_s: float) -> Table:
    """A row per system: R2 of each fold, their mean and deviations, and the paper's split.

    The values hold a row per run. Printed is the mean over the seeds: of each fold, over the
    sessions; then the mean over sessions and folds, with the deviation over the folds of a
    session (the mean of all sessions') and the deviation over sessions of the mean over folds.

    Args:
        frame: of the sessions and of their folds, from `collect`.
        systems: rows, in order.
        folds: of each session.
        gap_s: left out on either side of the tested block, in seconds.
    Raises:
        ResultError: no results of a system.
    """
    check_present(frame, systems, "to tabulate")
    parts = frame["session"].map(unfolded)
    frame = frame.assign(session=parts.str[0], fold=parts.str[1].astype("Int64"))
    frame["protocol"] = frame["fold"].isna().map({True: "split", False: "blocked"})
    rows = [_row(frame[frame["system"] == name]) for name in systems]
    columns = [
        Column("System", list(systems), align="l"),
        Column("Spiking", [yes(system.spiking) for system in systems.values()], align="c"),
    ]
    for n in range(1, folds + 1):
        columns.append(Column(str(n), [r2(row["folds"][n]) for row in rows], "R² of fold"))
    columns.append(Column("mean", [r2(row["mean"]) for row in rows], "Over the folds"))
    columns.append(Column("±", [share(row["over_folds"]) for row in rows], "Over the folds"))
    sessions = frame["session"].nunique()
    if sessions > 1:
        columns.append(Column("± sessions", [share(row["over_sessions"]) for row in rows]))
    columns.append(Column("Paper's split", [r2(*row["split"]) for row in rows]))
    return result_table(
        "blocked",
        f"R² by cross-validation over blocks in time, which is not the papers' protocol: {folds} "
        f"folds of each session, in each of which another block of as many segments is tested, "
        f"the block before it is for validation, and {gap_s:g} s beside the tested block are left "
        f"out. Folds: means over {'sessions and ' if sessions > 1 else ''}seeds. ±: population "
        f"standard deviation over the {folds} folds"
        + (", mean over the sessions; over sessions, of the mean of a session" * (sessions > 1))
        + ". Folds share most of their training data, so that it is no standard error. Beside it "
        "the paper's split, same sessions and seeds",
        frame,
        frame.sort_values(["system", "session", "protocol", "fold", "seed"])[_VALUES],
        columns,
    )


def _row(part: pd.DataFrame) -> dict:
    """Of one system."""
    cut = part[part["protocol"] == "blocked"]
    by_fold = cut.groupby(["session", "fold"])["r2"].mean()
    by_session = by_fold.groupby("session")
    split = part[part["protocol"] == "split"].groupby("seed")["r2"].mean()
    return {
        "folds": by_fold.groupby("fold").mean(),
        "mean": by_fold.mean(),
        "over_folds": by_session.std(ddof=0).mean(),
        "over_sessions": by_session.mean().std(ddof=0),
        "split": spread(split),
    }
