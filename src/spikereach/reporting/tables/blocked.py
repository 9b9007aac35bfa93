"""R2 by cross-validation over blocks in time, beside that of the paper's split."""

import math

import pandas as pd

from spikereach.config.sessions import unfolded
from spikereach.reporting.cells import Systems, r2, result_table, share, spread, yes
from spikereach.reporting.collect import check_present
from spikereach.reporting.render import Column, Table

SPLIT = "split"
"""In the place of a fold: the paper's split."""
MEAN = "mean"
"""In the place of a fold: over the folds; in that of a session: over the sessions."""


def blocked(frame: pd.DataFrame, systems: Systems, folds: int, gap_s: float) -> Table:
    """A row per system: R2 of each fold, their mean and deviation, and the paper's split.

    The values have a row per system, session and fold, with mean and deviation over the seeds.
    Where ``fold`` is ``mean`` they are over the folds, of the mean over the seeds. Where
    ``session`` is ``mean``, R2 is that over the sessions; so is the deviation over folds, and of
    the paper's split it is over the seeds, of the mean over the sessions.

    Args:
        frame: of the sessions and of their folds, from `collect`.
        systems: rows, in order.
        folds: of each session.
        gap_s: left out on either side of the tested block, in seconds.
    Raises:
        ResultError: no results of a system.
    """
    check_present(frame, systems, "to tabulate")
    frame = frame[frame["system"].isin(systems)]
    names, folds_of = zip(*map(unfolded, frame["session"]), strict=True)
    frame = frame.assign(session=names, fold=[str(n or SPLIT) for n in folds_of])
    lines = {name: _line(frame[frame["system"] == name]) for name in systems}
    columns = [
        Column("System", list(systems), align="l"),
        Column("Spiking", [yes(system.spiking) for system in systems.values()], align="c"),
    ]
    shown = [(str(n), str(n)) for n in range(1, folds + 1)] + [("Mean ± over folds", MEAN)]
    for heading, key in shown:
        std = key == MEAN
        cells = [r2(*line[MEAN, key][: 1 + std]) for line in lines.values()]
        columns.append(Column(heading, cells, "" if std else "R² of fold"))
    sessions = frame["session"].unique()
    if len(sessions) > 1:
        means = {name: [line[each, MEAN][0] for each in sessions] for name, line in lines.items()}
        cells = [share(spread(pd.Series(each))[1]) for each in means.values()]
        columns.append(Column("± over sessions", cells))
    columns.append(Column("Paper's split", [r2(*line[MEAN, SPLIT]) for line in lines.values()]))
    values = [
        (name, *key, *numbers) for name, line in lines.items() for key, numbers in line.items()
    ]
    what = (
        f"R² by cross-validation over blocks in time, which is not the papers' protocol. A session "
        f"is divided into {folds} blocks of equally many segments; in each of {folds} folds "
        "another one is tested, the one before it is for validation, and the others are for "
        f"training, but for {gap_s:g} s on either side of the tested block. All numbers are means "
        "over the seeds, those of folds over the sessions, too. ± over folds: population standard "
        "deviation over the folds of a session"
    )
    if len(sessions) > 1:
        what += ", mean over the sessions; over sessions: of their means over folds"
    what += (
        ". Folds share most of their training data: it is no standard error. Beside it the paper's "
        "split with the same seeds"
    )
    keys = ["system", "session", "fold", "r2", "r2_std"]
    return result_table("blocked", what, frame, pd.DataFrame(values, columns=keys), columns)


def _line(part: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float]]:
    """Session and fold -> mean and deviation of a system's R2, as `blocked` says."""
    found = {key: spread(each) for key, each in part.groupby(["session", "fold"])["r2"]}
    means = pd.Series({key: mean for key, (mean, _) in found.items()}).unstack()
    cut = means.drop(columns=SPLIT)
    found |= {(name, MEAN): spread(row) for name, row in cut.iterrows()}
    found |= {(MEAN, fold): (float(each.mean()), math.nan) for fold, each in cut.items()}
    found[MEAN, MEAN] = float(cut.mean(axis=1).mean()), float(cut.std(axis=1, ddof=0).mean())
    by_seed = part[part["fold"] == SPLIT].groupby("seed")["r2"].mean()
    found[MEAN, SPLIT] = spread(by_seed)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] == MEAN, item[0])))
