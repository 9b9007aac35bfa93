"""The table of published weights: their published figures, and what is measured of them here."""

from collections.abc import Iterable, Iterator

import pandas as pd

from spikereach.config import System
from spikereach.config.sessions import evaluation_session
from spikereach.published import figures
from spikereach.reporting.cells import Systems, minus, result_table
from spikereach.reporting.collect import ResultError
from spikereach.reporting.render import MISSING, Column, Table

#: metric -> heading, and the form of a value and of a difference
METRICS = {
    "r2": ("R²", ".4f"),
    "acs": ("ACs", ",.2f"),
    "macs": ("MACs", ",.2f"),
    "activation_sparsity": ("Activation sparsity", ".5f"),
    "connection_sparsity": ("Connection sparsity", ".4f"),
    "footprint": ("Footprint", ",.0f"),
    "dense": ("Dense", ",.2f"),
}
_MEAN = "mean"


def imported(frame: pd.DataFrame, systems: Systems) -> Table:
    """Ours beside the published figure of every session, and the difference.

    Where several seeds were published, both sides are compared as sets, in ascending order,
    because the order of the published figures is not that of the seeds' numbers. The values
    hold every pair; printed are the means, and of the differences the largest.

    Raises:
        ResultError: no results of a system, or not as many as were published.
    """
    frame = frame[frame["system"].isin(systems)]
    pairs = [
        (*pair, our, their, None if their is None else our - their)
        for name, system in systems.items()
        for *pair, our, their in _pairs(frame, name, system)
    ]
    names = ["system", "session", "weights", "metric", "rank", "ours", "published", "difference"]
    values = pd.DataFrame(pairs, columns=names, dtype=object)
    runs = values[["system", "session"]].drop_duplicates()
    shown = runs["system"].map(lambda name: systems[name].published)
    short = {session: label for label, session in figures.sessions().items()}
    columns = [
        Column("System", list(shown.mask(runs["system"].duplicated(), "")), align="l"),
        Column("Session", list(runs["session"].replace(short)), align="l"),
    ]
    for metric, (heading, form) in METRICS.items():
        by_run = values[values["metric"] == metric].groupby(["system", "session"], sort=False)
        cells = [_cells(part, form, mean=session == _MEAN) for (_, session), part in by_run]
        for n, label in enumerate(("ours", "publ.", "diff.")):
            columns.append(Column(label, [minus(cell[n]) for cell in cells], heading))
    return result_table(
        "imported",
        "Published weights, evaluated here without training, beside the published figures of "
        "the same weights per session: R² over the whole test split; effective accumulates "
        "(ACs), multiply-accumulates (MACs) and dense operations per 4 ms step; shares of "
        "activations and weights that are zero; footprint in bytes. tinyRSNN: means over "
        "five seeds, and the largest difference of the seeds in ascending order. Means are "
        "beside those of the papers' tables" + _stand_ins(runs["session"]),
        frame,
        values,
        columns,
        stub=2,
        costs=True,
    )


def _pairs(frame: pd.DataFrame, name: str, system: System) -> Iterator[tuple]:
    part = frame[frame["system"] == name]
    if part.empty:
        raise ResultError(f"no results of the system {name!r}: evaluate it first")
    for session, runs in part.groupby("session"):
        original = evaluation_session(session)
        for metric in METRICS:
            ours = sorted(runs[metric])
            published = figures.per_session(system.published, metric).get(original)
            theirs = [None] * len(ours) if published is None else sorted(published)
            if len(ours) != len(theirs):
                raise ResultError(
                    f"{name} on {session}: {len(ours)} results, but {len(theirs)} published"
                )
            for rank, (our, their) in enumerate(zip(ours, theirs, strict=True), start=1):
                yield name, session, original, metric, rank, our, their
    if set(part["session"]) == set(figures.sessions().values()):  # beside the printed means
        for metric in METRICS:
            our = float(part.groupby("session")[metric].mean().mean())
            their = getattr(figures.system(system.published), metric)
            yield name, _MEAN, None, metric, 1, our, their


def _cells(pairs: pd.DataFrame, form: str, *, mean: bool) -> tuple[str, str, str]:
    """Printed means of both sides, and the largest difference.

    Means over the sessions are published with few digits, which are printed as they are.
    """
    ours = format(pairs["ours"].mean(), form)
    if pairs["published"].isna().any():
        return ours, MISSING, MISSING
    difference = format(max(pairs["difference"], key=abs), "+" + form)
    if not difference.strip("+-0.,"):
        difference = "0"
    theirs = format(pairs["published"].mean(), "," if mean else form).removesuffix(".0")
    return ours, theirs, difference


def _stand_ins(sessions: Iterable[str]) -> str:
    """What is said where weights meet sessions that they were not trained on."""
    short = {session: label for label, session in figures.sessions().items()}
    others = {s: original for s in sessions if (original := evaluation_session(s)) not in (None, s)}
    if not others:
        return ""
    pairs = ", ".join(f"{short[original]} on {session}" for session, original in others.items())
    return (
        f". The weights were trained on other recordings ({pairs}): R², sparsity of activations "
        "and operations mean nothing here, and only show that the import works"
    )
