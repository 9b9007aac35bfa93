"""All trials of a hyperparameter search (figure 2)."""

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from spikereach.config import Search
from spikereach.data import sources
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, TRUE, colour
from spikereach.reporting.plots.drawing import DASHED, DOUBLE, Plot, dot
from spikereach.reporting.search import Trials, best, importance


def search(trials: Trials, search: Search, source: str) -> Plot:
    """R2 against every parameter, their importance, and R2 against the deployment footprint.

    The footprint is that of the float32 decoder that was trained; a system's compression comes
    after its search.

    Args:
        trials: all of the search, by number.
        search: its settings.
        source: as in the configuration.
    """
    shares, top = importance(trials, search), best(trials)
    complete = [trial for trial in trials if trial["state"] == "complete"]
    costs, r2 = ([trial[key] for trial in complete] for key in ("deployment_bytes", "r2"))
    front = [complete[n] for n in drawing.pareto_front(costs, r2)]
    shade = colour(search.system)
    realtime = [trial for trial in complete if trial["realtime"]]
    late = [trial for trial in complete if not trial["realtime"]]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    shown = (
        (realtime, {"color": shade, "marker": "o", "s": 10}),
        (late, {"facecolors": "none", "edgecolors": shade, "marker": "o", "s": 10}),
        (pruned, {"color": GREY, "marker": "x", "s": 9}),
    )
    measured = ("r2", "epochs", "deployment_bytes", "latency_ms", "realtime")
    data = pd.DataFrame(
        [
            {
                "trial": trial["number"],
                "state": trial["state"],
                "parameter": name,
                "value": trial["parameters"][name],
                "importance": shares[name],
                **{key: trial[key] for key in measured},
                "pareto": trial in front,
                "best": trial == top,
            }
            for trial in trials
            for name in search.space
        ]
    )
    panels = {_symbol(name): lambda t, n=name: t["parameters"][n] for name in search.space}
    panels["Deployed in float32 (kB)"] = lambda t: t["deployment_bytes"] / 1e3
    columns = 4
    rows = -(-(len(search.space) + 2) // columns)
    with drawing.drawn(DOUBLE, 0.35 + 1.75 * rows) as figure:
        grid = figure.add_gridspec(rows, columns)
        first = None
        for index, (label, value) in enumerate(panels.items()):
            axes = figure.add_subplot(grid[divmod(index, columns)], sharey=first)
            first = first or axes
            for part, look in shown:
                points = list(map(value, part)), [trial["r2"] for trial in part]
                axes.scatter(*points, linewidths=0.7, zorder=3, **look)
            ring = {"facecolors": "none", "edgecolors": TRUE, "linewidths": 0.9, "zorder": 4}
            axes.scatter(value(top), top["r2"], s=34, marker="o", **ring)
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.grid(axis="y")
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("Validation $R^2$")
        stair = [value(trial) for trial in front], [trial["r2"] for trial in front]
        axes.plot(*stair, drawstyle="steps-post", zorder=2, **DASHED)
        row, column = divmod(len(panels), columns)
        bars = figure.add_subplot(grid[row, column:])
        names = sorted(search.space, key=shares.get)
        bars.barh(list(map(_symbol, names)), [shares[n] for n in names], 0.6, color=shade)
        bars.tick_params(axis="y", length=0)
        bars.set_xlim(0, 1)
        bars.set_xlabel("Importance")
        entries = {
            "real-time": dot(shade, 3.5),
            "not real-time": dot(shade, 3.5, markerfacecolor="none"),
            "pruned": dot(GREY, 3.5, marker="x"),
            "best": dot(TRUE, 6, markerfacecolor="none"),
            "Pareto front": Line2D([], [], **DASHED),
        }
        drawing.legend_above(figure, entries)
        drawing.note(bars, sources.named(source))
    return Plot(figure, data)


def _symbol(name: str) -> str:
    """``N_LIF`` as the paper prints it."""
    letter, _, index = name.partition("_")
    if len(letter) > 1:
        return name.replace("_", " ")
    return f"${letter}_{{\\mathrm{{{index}}}}}$" if index else f"${letter}$"
