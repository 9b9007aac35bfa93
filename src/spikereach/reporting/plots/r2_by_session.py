"""R2 of every system and session, ours and published."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from spikereach.config import System
from spikereach.published import figures
from spikereach.reporting.cells import Systems
from spikereach.reporting.collect import check_present, source_of
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, colour


def r2_by_session(frame: pd.DataFrame, systems: Systems) -> drawing.Plot:
    """R2 of every system and session: a dot per seed, a bar for their mean.

    Published values stand beside as open diamonds where the data are the Zenodo recordings.

    Args:
        frame: from `collect`.
        systems: in order, with the published row of each.
    """
    check_present(frame, systems)
    order = frame.drop_duplicates("session").sort_values(["monkey", "session"])["session"]
    groups = [*order, "mean"] if len(order) > 1 else [*order]
    rows = []
    for group in groups:
        within = frame if group == "mean" else frame[frame["session"] == group]
        for name, system in systems.items():
            part = within[within["system"] == name]
            for seed, value in part.groupby("seed")["r2"].mean().items():
                rows.append((group, name, "ours", seed, value))
            if (printed := _published_r2(frame, system).get(group)) is not None:
                rows.append((group, name, "published", None, printed))
    data = pd.DataFrame(rows, columns=["session", "system", "origin", "seed", "r2"])
    data["seed"] = data["seed"].astype("Int64")

    places = len(groups) * len(systems)
    width = drawing.DOUBLE if places > 12 else drawing.COLUMN
    in_row = -(-len(groups) // -(-places // 80))  # so that dots stay apart
    rows = [groups[n : n + in_row] for n in range(0, len(groups), in_row)]
    with drawing.drawn(width, 0.8 + 1.7 * len(rows)) as figure:
        panels = figure.subplots(len(rows), 1, sharey=True, squeeze=False)[:, 0]
        for axes, shown in zip(panels, rows, strict=True):
            _groups(axes, data, shown, systems)
            axes.set_xlim(-0.5, in_row - 0.5)
        low, high = data["r2"].min(), data["r2"].max()
        axes.set_ylim(low - 0.08 * (high - low) - 0.01, high + 0.08 * (high - low) + 0.01)
        line = {"linestyle": "-", "linewidth": 1.6}
        entries = {name: drawing.dot(colour(name), 3, **line) for name in systems}
        if (data["origin"] == "published").any():
            entries["published"] = drawing.mark(GREY)
        drawing.legend_above(figure, entries)
        drawing.note(panels[0], source_of(frame))
    return drawing.Plot(figure, data)


def _groups(axes: Axes, data: pd.DataFrame, groups: list[str], systems: Systems) -> None:
    """Sessions beside each other, in each the systems in order."""
    step = 0.8 / len(systems)
    for at, group in enumerate(groups):
        if at % 2:
            axes.axvspan(at - 0.5, at + 0.5, color="#F4F4F4", zorder=0, linewidth=0)
        if group == "mean":
            axes.axvline(at - 0.5, color=GREY, linewidth=0.6)
        for index, name in enumerate(systems):
            x = at + (index - (len(systems) - 1) / 2) * step
            part = data[(data["session"] == group) & (data["system"] == name)]
            ours = part.loc[part["origin"] == "ours", "r2"].to_numpy()
            theirs = part.loc[part["origin"] == "published", "r2"].to_numpy()
            half = 0.36 * step
            axes.hlines(ours.mean(), x - half, x + half, color=colour(name), linewidth=1.6)
            spread = np.linspace(-half / 2, half / 2, len(ours)) if len(ours) > 1 else 0
            axes.scatter(
                x + spread, ours, s=8, color=colour(name), alpha=0.65, linewidths=0, zorder=3
            )
            drawing.marks(axes, np.full(len(theirs), x), theirs, colour(name), size=13)
    drawing.by_session(axes, groups)


def _published_r2(frame: pd.DataFrame, system: System) -> dict[str, float | None]:
    """The published mean of each session and, beside all six, of these; none on other data.

    Where no sessions are published, the mean is the printed one.
    """
    if source_of(frame).apart or system.published is None:
        return {}
    seeds = figures.per_session(system.published, "r2")
    printed = {session: float(np.mean(values)) for session, values in seeds.items()}
    if set(frame["session"]) == set(figures.sessions().values()):
        by_seed = figures.r2_by_seed(system.published)
        printed["mean"] = np.mean(by_seed) if by_seed else figures.system(system.published).r2
    return printed
