"""The ablations of cortex areas (bars, figure 5), of compression (steps numbered in order) and of
latency (a line)."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from spikereach.published import figures
from spikereach.reporting.cells import Systems
from spikereach.reporting.collect import source_of
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, TRUE, colour
from spikereach.reporting.tables.ablations import (
    compression_values,
    cortex_values,
    fusion_values,
    latency_values,
    silenced_areas,
)


def cortex(frame: pd.DataFrame, labels: Mapping[str, str]) -> drawing.Plot:
    """R2 per session for decoders of different areas; arguments as of `cortex_values`."""
    data = cortex_values(frame, labels)
    return _bars(frame, data, labels, {"published": "_published"})


def fusion(frame: pd.DataFrame, labels: Mapping[str, str]) -> drawing.Plot:
    """R2 per session and input, and without an area's spikes; arguments as of `cortex_values`."""
    data = fusion_values(frame, labels)
    areas = silenced_areas(frame)
    return _bars(frame, data, labels, {f"{area} silent": f"_{area}_silent" for area in areas})


def _bars(
    frame: pd.DataFrame, data: pd.DataFrame, labels: Mapping[str, str], beside: Mapping[str, str]
) -> drawing.Plot:
    """A bar per session and input, and marks for other values of R2 beside: the label of each in
    the legend, and the ending of its columns. Marks below zero, where bars would shrink to nothing
    beside them, stand in grey at zero or at the lowest bar's end."""
    sessions = list(data["session"].unique())
    width = drawing.COLUMN if len(sessions) <= 3 else drawing.DOUBLE
    marks = {label: end for label, end in beside.items() if data[f"r2{end}"].notna().any()}
    floor, lowest = min(0.0, data["r2"].min()), math.inf
    with drawing.drawn(width, 2.4) as figure:
        axes = figure.add_subplot()
        step, entries = 0.84 / len(labels), {}
        for index, (label, name) in enumerate(labels.items()):
            part = data[data["input"] == label]
            x = np.arange(len(sessions)) + (index - (len(labels) - 1) / 2) * step
            entries[label] = axes.bar(x, part["r2"], 0.9 * step, color=colour(name))
            _errors(axes, x - 0.12 * step, part["r2"], part["r2_std"])
            for nth, (end, shape) in enumerate(zip(marks.values(), drawing.SHAPES, strict=False)):
                at = x + (0.2 + 0.2 * (nth - (len(marks) - 1) / 2)) * step
                value, low = part[f"r2{end}"], part[f"r2{end}"] < floor
                _errors(axes, at, value.mask(low), part[f"r2_std{end}"].mask(low))
                shades = [GREY if each else TRUE for each in low]
                drawing.marks(axes, at, value.clip(floor), shades, size=9, marker=shape)
                lowest = min(lowest, value.min())
        drawing.by_session(axes, sessions)
        for label, shape in zip(marks, drawing.SHAPES, strict=False):
            entries[label] = drawing.mark(TRUE, shape)
        if lowest < floor + 0.02:
            axes.use_sticky_edges = False  # room for marks at zero
            axes.margins(y=0.05)
        if lowest < floor:
            entries["below zero"] = drawing.mark(GREY, drawing.SHAPES[0])
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


def compression(frame: pd.DataFrame, labels: Mapping[str, str], systems: Systems) -> drawing.Plot:
    """R2 against footprint and energy; arguments as of `compression_values`."""
    values = compression_values(frame, labels, systems)
    with drawing.drawn(drawing.DOUBLE, 2.7) as figure:
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
        steps = enumerate(zip(values["step"], values["system"], strict=True), start=1)
        entries = {f"{n}  {step}": drawing.dot(colour(name), 6) for n, (step, name) in steps}
        if values["r2_published"].notna().any():
            entries["published"] = drawing.mark(GREY)
        key.axis("off")
        look = {"loc": "center left", "borderaxespad": 0, "handletextpad": 0.4}
        key.legend(list(entries.values()), list(entries), **look)
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
    drawing.marks(
        axes, theirs, values["r2_published"].astype(float), shades, size=12, linewidths=0.8
    )


def latency(frame: pd.DataFrame, labels: Mapping[str, str]) -> drawing.Plot:
    """R2 against latency; arguments as of `latency_values`."""
    values = latency_values(frame, labels)
    limit, _ = figures.realtime_rule()
    with drawing.drawn(drawing.COLUMN, 2.2) as figure:
        axes = figure.add_subplot()
        x, y = values["latency_ms"], values["r2"]
        axes.plot(x, y, color=GREY, linewidth=0.6, zorder=2)
        for at, r2, std, name, label in zip(
            x, y, values["r2_std"].astype(float), values["system"], values["decoder"], strict=True
        ):
            if not math.isnan(std):
                axes.errorbar(
                    at, r2, std, fmt="none", ecolor=colour(name), elinewidth=0.8, capsize=1.5
                )
            axes.scatter(at, r2, s=24, color=colour(name), zorder=3, linewidths=0)
            axes.annotate(
                label, (at, r2), xytext=(0, -4), textcoords="offset points", ha="center", va="top",
                fontsize=5.5, path_effects=[withStroke(linewidth=1.7, foreground="white")],
            )  # fmt: skip
        axes.axvline(limit, **drawing.DASHED)
        axes.margins(x=0.12, y=0.2)
        axes.set(xlabel="Latency (ms)", ylabel="Test $R^2$")
        axes.set_xlim(left=0)
        axes.grid()
        drawing.note(axes, source_of(frame))
    return drawing.Plot(figure, values)
