"""The cortex ablation as bars (figure 5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from spikereach.reporting import ablations
from spikereach.reporting.collect import source_of
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import TRUE, colour


def cortex(frame: pd.DataFrame, labels: Mapping[str, str]) -> drawing.Plot:
    """R2 per session for decoders of different areas; arguments as of `ablations.cortex`."""
    data = ablations.cortex(frame, labels)
    sessions = list(data["session"].unique())
    with drawing.style():
        figure = drawing.new_figure(drawing.COLUMN if len(sessions) <= 3 else drawing.DOUBLE, 2.4)
        axes = figure.add_subplot()
        step, entries = 0.84 / len(labels), {}
        for index, (label, name) in enumerate(labels.items()):
            part = data[data["input"] == label]
            x = np.arange(len(sessions)) + (index - (len(labels) - 1) / 2) * step
            entries[label] = axes.bar(x, part["r2"], 0.9 * step, color=colour(name))
            _errors(axes, x - 0.12 * step, part["r2"], part["r2_std"])
            _errors(axes, x + 0.2 * step, part["r2_published"], part["r2_std_published"])
            drawing.diamonds(axes, x + 0.2 * step, part["r2_published"], TRUE, size=9)
        axes.set_xticks(range(len(sessions)), [drawing.two_lines(session) for session in sessions])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Test $R^2$")
        axes.grid(axis="y")
        if data["r2_published"].notna().any():
            entries["published"] = drawing.diamond(TRUE)
        drawing.legend_above(figure, entries)
        drawing.note(axes, source_of(frame))
    return drawing.Plot(figure, data)


def _errors(axes: Axes, x: np.ndarray, mean: pd.Series, std: pd.Series) -> None:
    shown = std.notna().to_numpy()
    axes.errorbar(
        x[shown], mean[shown], std[shown], fmt="none", ecolor=TRUE, elinewidth=0.7, capsize=1.2,
        capthick=0.7, zorder=3,
        path_effects=[withStroke(linewidth=1.7, foreground="white")],  # seen on dark bars too
    )  # fmt: skip
