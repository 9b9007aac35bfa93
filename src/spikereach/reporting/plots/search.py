"""All trials of a hyperparameter search (figure 2)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from spikereach.config import Search
from spikereach.data import sources
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, TRUE, colour
from spikereach.reporting.plots.drawing import DOUBLE, Plot, dot, legend_above, new_figure, style
from spikereach.reporting.search import Trials, best, importance


def search(trials: Trials, search: Search, source: str) -> Plot:
    """The trials, with the importance of each parameter among them; see :func:`plot`."""
    return plot(trials, search, importance(trials, search), source=source)


def pareto_front(trials: Trials) -> list[int]:
    """Numbers of the completed trials that no other surpasses in R2 at no larger footprint.

    By footprint, the smallest first.
    """
    complete = [trial for trial in trials if trial["state"] == "complete"]
    complete.sort(key=lambda trial: trial["number"])
    costs = [trial["deployment_bytes"] for trial in complete]
    places = drawing.pareto_front(costs, [trial["r2"] for trial in complete])
    return [complete[place]["number"] for place in places]


def plot(trials: Trials, search: Search, importance: Mapping[str, float], *, source: str) -> Plot:
    """R2 against every parameter, their importance, and R2 against the deployment footprint.

    The footprint is that of the float32 decoder that was trained; a system's compression comes
    after its search.

    Args:
        trials: all of the search.
        search: its settings.
        importance: parameter -> share.
        source: as in the configuration.
    """
    front, top = pareto_front(trials), best(trials)["number"]
    shade = colour(search.system)
    open_ = {"facecolors": "none", "edgecolors": shade}
    looks = {
        "real-time": {"color": shade, "marker": "o", "s": 10, "linewidths": 0.7},
        "not real-time": open_ | {"marker": "o", "s": 10, "linewidths": 0.7},
        "pruned": {"color": GREY, "marker": "x", "s": 9, "linewidths": 0.7},
    }
    shown = {
        "real-time": [t for t in trials if t["state"] == "complete" and t["realtime"]],
        "not real-time": [t for t in trials if t["state"] == "complete" and not t["realtime"]],
        "pruned": [t for t in trials if t["state"] == "pruned"],
    }
    measured = ("r2", "epochs", "deployment_bytes", "latency_ms", "realtime")
    data = pd.DataFrame(
        [
            {
                "trial": trial["number"],
                "state": trial["state"],
                "parameter": name,
                "value": trial["parameters"][name],
                "importance": importance[name],
                **{key: trial[key] for key in measured},
                "pareto": trial["number"] in front,
                "best": trial["number"] == top,
            }
            for trial in trials
            for name in search.space
        ]
    )
    with style():
        columns = 4
        rows = -(-(len(search.space) + 2) // columns)
        figure = new_figure(DOUBLE, 0.35 + 1.75 * rows)
        grid = figure.add_gridspec(rows, columns)
        places = [grid[n // columns, n % columns] for n in range(rows * columns)]
        first = None
        panels = [(name, lambda t, n=name: t["parameters"][n]) for name in search.space]
        panels.append(("Deployed in float32 (kB)", lambda t: t["deployment_bytes"] / 1e3))
        for index, (label, value) in enumerate(panels):
            axes = figure.add_subplot(places[index], sharey=first)
            first = first or axes
            for kind, part in shown.items():
                x, y = list(map(value, part)), [trial["r2"] for trial in part]
                axes.scatter(x, y, **looks[kind], zorder=3)
            winner = next(trial for trial in trials if trial["number"] == top)
            axes.scatter(
                value(winner), winner["r2"], s=34, marker="o", facecolors="none",
                edgecolors=TRUE, linewidths=0.9, zorder=4,
            )  # fmt: skip
            axes.set_xlabel(_symbol(label) if label in search.space else label)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.grid(axis="y")
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("Validation $R^2$")
        by_number = {trial["number"]: trial for trial in trials}
        axes.plot(
            [by_number[n]["deployment_bytes"] / 1e3 for n in front],
            [by_number[n]["r2"] for n in front],
            drawstyle="steps-post", color=GREY, linewidth=0.8, linestyle="--", zorder=2,
        )  # fmt: skip
        last = len(panels)
        bars = figure.add_subplot(grid[last // columns, last % columns :])
        names = sorted(search.space, key=lambda name: importance[name])
        bars.barh(range(len(names)), [importance[n] for n in names], 0.6, color=shade)
        bars.set_yticks(range(len(names)), [_symbol(name) for name in names])
        bars.tick_params(axis="y", length=0)
        bars.set_xlim(0, 1)
        bars.set_xlabel("Importance")
        handles = [
            dot(shade, 3.5),
            dot(shade, 3.5, markerfacecolor="none"),
            dot(GREY, 3.5, marker="x"),
            dot(TRUE, 6, markerfacecolor="none"),
            Line2D([], [], color=GREY, linewidth=0.8, linestyle="--"),
        ]
        legend_above(figure, handles, [*looks, "best", "Pareto front"], DOUBLE)
        if not sources.named(source).real:
            bars.set_title("synthetic data", loc="right", color=GREY, fontsize=6, pad=2)
    return Plot(figure, data)


def _symbol(name: str) -> str:
    """``N_LIF`` as the paper prints it."""
    letter, _, index = name.partition("_")
    if len(letter) > 1:
        return name.replace("_", " ")
    return f"${letter}_{{\\mathrm{{{index}}}}}$" if index else f"${letter}$"
