"""All trials of a hyperparameter search (figure 2)."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from spikereach.config import OBJECTIVES, Search
from spikereach.data import sources
from spikereach.reporting.dominance import pareto_front
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, TRUE, colour
from spikereach.reporting.plots.drawing import DASHED, DOUBLE, Plot, dot
from spikereach.reporting.search import Trials, best, frontier, importance

COSTS = {
    "bytes": ("Deployed (kB)", 1e3),
    "energy": ("Energy per step (nJ)", 1.0),
    "latency": ("Latency (ms)", 1.0),
}
"""Label of each objective but R2, and what its values are divided by."""


def search(trials: Trials, search: Search, source: str) -> Plot:
    """Validation R2 against every parameter and every cost, and what mattered for it.

    Bytes are shown where they are no objective, too.

    Args:
        trials: all of the search, by number.
        search: its settings.
        source: as in the configuration.
    """
    shares = importance(trials, search)
    several = len(search.objectives) > 1
    chosen = frontier(trials, search) if several else [best(trials)]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    r2 = [trial["r2"] for trial in complete]
    shade = colour(search.system)
    realtime = [trial for trial in complete if trial["realtime"]]
    late = [trial for trial in complete if not trial["realtime"]]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    shown = (
        (realtime, {"color": shade, "marker": "o", "s": 10}),
        (late, {"facecolors": "none", "edgecolors": shade, "marker": "o", "s": 10}),
        (pruned, {"color": GREY, "marker": "x", "s": 9}),
    )
    costs = [each for each in COSTS if each == "bytes" or each in search.objectives]
    fronts = {
        each: [complete[n] for n in pareto_front([t[OBJECTIVES[each]] for t in complete], r2)]
        for each in costs
    }
    measured = ("r2", "epochs", "deployment_bytes", "energy_nj", "latency_ms", "realtime")
    data = pd.DataFrame(
        [
            {
                "trial": trial["number"],
                "state": trial["state"],
                "parameter": name,
                "value": trial["parameters"][name],
                "importance": shares[name],
                **{key: trial[key] for key in measured},
                **{f"front_{each}": trial in front for each, front in fronts.items()},
                "chosen": trial in chosen,
            }
            for trial in trials
            for name in search.space
        ]
    )
    columns = 4
    count = len(search.space) + len(costs)
    rows = -(-(count + 1) // columns)
    with drawing.drawn(DOUBLE, 0.35 + 1.75 * rows) as figure:
        grid = figure.add_gridspec(rows, columns)
        first = None

        def panel(label: str, value: Callable[[Mapping[str, Any]], float]) -> Axes:
            nonlocal first
            index = len(figure.axes)
            axes = figure.add_subplot(grid[divmod(index, columns)], sharey=first)
            first = first or axes
            for part, look in shown:
                points = list(map(value, part)), [trial["r2"] for trial in part]
                axes.scatter(*points, linewidths=0.7, zorder=3, **look)
            ring = {"facecolors": "none", "edgecolors": TRUE, "linewidths": 0.9, "zorder": 4}
            points = list(map(value, chosen)), [trial["r2"] for trial in chosen]
            axes.scatter(*points, s=34, marker="o", **ring)
            axes.set_xlabel(label)
            axes.grid(axis="y")
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("Validation $R^2$")
            return axes

        for name, parameter in search.space.items():
            if parameter.choices is not None:
                places = {choice: place for place, choice in enumerate(parameter.choices)}
                axes = panel(_symbol(name), lambda t, n=name, p=places: p[t["parameters"][n]])
                axes.set_xticks(range(len(places)), list(map(str, places)))
                axes.set_xlim(-0.5, len(places) - 0.5)
                continue
            axes = panel(_symbol(name), lambda t, n=name: t["parameters"][n])
            if parameter.log:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
            else:
                axes.xaxis.set_major_locator(MaxNLocator(4, integer=parameter.whole))
        for each, front in fronts.items():
            label, unit = COSTS[each]
            axes = panel(label, lambda t, k=OBJECTIVES[each], u=unit: t[k] / u)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            stair = [t[OBJECTIVES[each]] / unit for t in front], [t["r2"] for t in front]
            axes.plot(*stair, drawstyle="steps-post", zorder=2, **DASHED)
        row, column = divmod(count, columns)
        bars = figure.add_subplot(grid[row, column:])
        names = sorted(search.space, key=shares.get)
        bars.barh(list(map(_symbol, names)), [shares[n] for n in names], 0.6, color=shade)
        bars.tick_params(axis="y", length=0)
        bars.set_xlim(0, 1)
        bars.set_xlabel("Importance for $R^2$")
        entries = {
            "real-time": dot(shade, 3.5),
            "not real-time": dot(shade, 3.5, markerfacecolor="none"),
            "pruned": dot(GREY, 3.5, marker="x"),
            "non-dominated" if several else "best": dot(TRUE, 6, markerfacecolor="none"),
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
