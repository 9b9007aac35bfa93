"""R2 against deployment footprint and energy, the steps of a compression numbered in order."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from spikereach.reporting import ablations
from spikereach.reporting.cells import Systems
from spikereach.reporting.collect import source_of
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, colour


def compression(frame: pd.DataFrame, labels: Mapping[str, str], systems: Systems) -> drawing.Plot:
    """Arguments as of `ablations.compression`."""
    values = ablations.compression(frame, labels, systems)
    with drawing.style():
        figure = drawing.new_figure(drawing.DOUBLE, 2.7)
        footprint, energy, key = figure.subplots(1, 3, width_ratios=[1, 1, 0.62])
        energy.sharey(footprint)
        for axes, metric, unit, label in (
            (footprint, "footprint_bytes", 1e3, "Footprint where deployed (kB)"),
            (energy, "energy_nj", 1, "Energy per 4 ms step (nJ)"),
        ):
            _chain(axes, values, metric, unit)
            drawing.logarithmic(axes, label)
            axes.margins(x=0.1)
        footprint.set_ylabel("Test $R^2$")
        energy.tick_params(labelleft=False)
        handles = [drawing.dot(colour(name), 6) for name in values["system"]]
        labels = [f"{n}  {step}" for n, step in enumerate(values["step"], start=1)]
        if values["r2_published"].notna().any():
            handles.append(drawing.diamond(GREY))
            labels.append("published")
        key.axis("off")
        key.legend(handles, labels, loc="center left", borderaxespad=0, handletextpad=0.4)
        drawing.note(energy, source_of(frame))
    return drawing.Plot(figure, values)


def _chain(axes: Axes, values: pd.DataFrame, metric: str, unit: float) -> None:
    x, y = values[metric] / unit, values["r2"]
    axes.plot(x, y, color=GREY, linewidth=0.6, zorder=2)
    shades = [colour(name) for name in values["system"]]
    stds = values["r2_std"].astype(float)
    for number, (at, r2, std, shade) in enumerate(zip(x, y, stds, shades, strict=True)):
        if not math.isnan(std):
            axes.errorbar(
                at, r2, std, fmt="none", ecolor=shade, elinewidth=0.8, capsize=1.5, capthick=0.8,
                zorder=2.5,
            )  # fmt: skip
        axes.scatter(at, r2, s=42, color=shade, zorder=3 + 0.01 * number, linewidths=0)
        axes.annotate(
            str(number + 1), (at, r2), ha="center", va="center_baseline", color="white", fontsize=5,
            zorder=3.005 + 0.01 * number,
        )  # fmt: skip
    theirs = values[f"{metric}_published"].astype(float) / unit
    drawing.diamonds(
        axes, theirs, values["r2_published"].astype(float), shades, size=12, linewidths=0.8
    )
