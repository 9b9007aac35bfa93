"""R2 against deployed bytes and against energy per step: ours, and published systems as cited."""

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from spikereach.reporting.cells import Systems
from spikereach.reporting.collect import source_of
from spikereach.reporting.dominance import hypervolume, pareto_front
from spikereach.reporting.frontier import OURS, placed
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, colour, marker

REFERENCE = {"bytes": (1e6, "1 MB"), "energy_nj": (1e3, "1 µJ")}
"""The largest cost that counts in a hypervolume; the lowest R2 is 0. The same for every run, so
that those of two runs compare."""
LABELS = {"bytes": "Deployed (kB)", "energy_nj": "Energy of operations per 4 ms step (nJ)"}
UNIT = {"bytes": 1e3, "energy_nj": 1.0}


def frontier(frame: pd.DataFrame, systems: Systems) -> drawing.Plot:
    """R2 against deployed bytes and against energy per step, each with its hypervolume.

    Published systems are left out where the data are other recordings, and on an axis for which
    they give no figure. Costs are as of `placed`.

    Args:
        frame: from `collect`, with metrics and real-time checks.
        systems: those trained here.
    """
    source = source_of(frame)
    data = pd.DataFrame(placed(frame, systems))
    if source.apart:
        data = data[data["origin"] == OURS]
    columns = ["system", "origin", "pretraining", "r2", "r2_std", *REFERENCE]
    data = data[columns].astype(dict.fromkeys(["r2", "r2_std", *REFERENCE], float))
    ours, cited = (data[(data["origin"] == OURS) == each] for each in (True, False))
    with drawing.drawn(drawing.DOUBLE, 3.1) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (cost, (most, shown)) in zip(panels, REFERENCE.items(), strict=True):
            front = ours.iloc[pareto_front(list(ours[cost]), list(ours["r2"]))]
            data[f"front_{cost}"] = data.index.isin(front.index)
            # on to the most costly of all, so that a single point has a line, too
            reached = np.append(front[cost], ours[cost].max()) / UNIT[cost]
            stair = reached, np.append(front["r2"], front["r2"].max())
            axes.plot(*stair, drawstyle="steps-post", zorder=2, **drawing.DASHED)
            for row in ours.itertuples():
                look = {"color": colour(row.system), "marker": marker(row.system)}
                at = getattr(row, cost) / UNIT[cost]
                axes.errorbar(at, row.r2, row.r2_std, ms=4.5, elinewidth=0.7, zorder=4, **look)
            for row in cited.dropna(subset=cost).itertuples():
                at = getattr(row, cost) / UNIT[cost], row.r2
                look = {"marker": marker(row.system), "edgecolors": colour(row.system)}
                axes.scatter(*at, s=16, facecolors="white", linewidths=0.7, zorder=3, **look)
                axes.annotate(
                    row.system, at, (2.5, 1.5), textcoords="offset points", fontsize=4.5, color=GREY
                )
            drawing.logarithmic(axes, LABELS[cost])
            area = hypervolume(list(np.log10(ours[cost])), list(ours["r2"]), (np.log10(most), 0.0))
            title = f"hypervolume {area:.3f} (to $R^2$ 0, {shown})"
            axes.set_title(title, loc="left", fontsize=6, pad=2)
        panels[0].set_ylabel("Test $R^2$")
        entries = {name: drawing.dot(colour(name), marker=marker(name)) for name in systems}
        entries["non-dominated"] = Line2D([], [], **drawing.DASHED)
        if len(cited):
            entries["published, as cited"] = drawing.dot(GREY, markerfacecolor="white")
        drawing.legend_above(figure, entries)
        drawing.note(panels[1], source)
    return drawing.Plot(figure, data)
