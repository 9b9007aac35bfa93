"""Decoded movement: spike raster, true and decoded velocity, and cursor path."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from spikereach.config import Trajectory
from spikereach.data import sources
from spikereach.reporting.collect import ResultError
from spikereach.reporting.plots.colours import GREY, TRUE, colour
from spikereach.reporting.plots.drawing import DOUBLE, Plot, drawn
from spikereach.reporting.predictions import read, stretch


def trajectory(predictions: Sequence[str | Path], trajectory: Trajectory, source: str) -> Plot:
    """A stretch of the test part.

    A decoded path is the integral of the decoded velocity from the true start, so that it
    drifts. The raster shows the channels that the first system reads.

    Args:
        predictions: ``predictions.h5`` of each system, all of one session.
        trajectory: the systems, and the stretch in seconds after the start of the test part.
        source: as in the configuration; says the unit of positions.
    Raises:
        ResultError: for a missing or damaged file, files of different sessions, or a stretch
            that does not lie inside the steps decoded by all systems.
    """
    start_s, duration_s = trajectory.start_s, trajectory.duration_s
    files = dict(zip(trajectory.systems, predictions, strict=True))
    found = {name: read(Path(path)) for name, path in files.items()}
    first, *others = found.values()
    for other in others:
        if (other.session, other.first_step) != (first.session, first.first_step):
            raise ResultError(
                f"predictions of {first.session} and {other.session} do not begin at the same "
                "step: draw the results of one session"
            )
    here = stretch([first, *others], start_s, duration_s)
    data = sources.named(source)
    unit = data.unit
    title = f"{first.session}, seed {first.seed}" + ", synthetic data" * (not data.real)

    origin = first.position[here][:1]
    movement = {"true": (first.velocity[here], first.position[here])}
    for name, one in found.items():
        part = one.predicted[here].astype(float)
        steps = np.vstack([np.zeros((1, 2)), np.cumsum(part[1:], axis=0)])
        movement[name] = (part, origin + steps)
    spikes = first.spikes[here]
    time = start_s + np.arange(len(spikes)) * first.dt_s
    at, channel = np.nonzero(spikes)
    series = [("raster", "spikes", time[at], channel)]

    with drawn(DOUBLE, 3.6) as figure:
        grid = figure.add_gridspec(4, 2, width_ratios=[1.45, 1], height_ratios=[0.12, 1.25, 1, 1])
        raster = figure.add_subplot(grid[1, 0])
        lines = [figure.add_subplot(grid[row, 0], sharex=raster) for row in (2, 3)]
        path = figure.add_subplot(grid[1:, 1])

        raster.plot(
            time[at], channel, "|", color=TRUE, markersize=0.9, markeredgewidth=0.35, zorder=3
        )
        raster.set(ylim=(-1, spikes.shape[1]), ylabel="Channel")
        raster.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        raster.tick_params(labelbottom=False)
        for axis, (name, axes) in enumerate(zip("xy", lines, strict=True)):
            axes.axhline(0, color=GREY, linewidth=0.4)
            for system, (velocity, _) in movement.items():
                series.append((f"velocity_{name}", system, time, velocity[:, axis] / first.dt_s))
                axes.plot(*series[-1][2:], **_line(system))
            axes.set_ylabel(f"$v_{name}$ ({unit}/s)")
        lines[0].tick_params(labelbottom=False)
        lines[1].set_xlabel("Time in the test part (s)")
        raster.set_xlim(start_s, start_s + duration_s)
        for system, (_, position) in movement.items():
            series.append(("path", system, *position.T))
            path.plot(*position.T, **_line(system))
        path.plot(*origin[0], "o", color=TRUE, markersize=4, zorder=9)
        path.margins(0.1)
        middle = np.mean([position.mean(axis=0) for _, position in movement.values()], axis=0)
        outward = np.where(origin[0] < middle, -1, 1)  # away from the paths
        path.annotate(
            "start", origin[0], xytext=tuple(outward * (0, 6)), textcoords="offset points",
            ha="center", va="bottom" if outward[1] > 0 else "top", fontsize=6.5, zorder=9,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        path.set(xlabel=f"$x$ ({unit})", ylabel=f"$y$ ({unit})")
        path.set_aspect("equal", adjustable="datalim")
        path.spines[["top", "right"]].set_visible(True)
        handles = [Line2D([], [], **_line(name)) for name in movement]
        key = figure.add_subplot(grid[0, :])
        key.axis("off")
        key.legend(handles, list(movement), loc="center", ncols=len(movement))
        about = {"loc": "left", "color": GREY, "fontsize": 6, "pad": 3}
        raster.set_title(title, **about)
        path.set_title("paths: velocities summed up, without correction", **about)

    columns = ("panel", "series", "x", "y")
    frames = [pd.DataFrame(dict(zip(columns, each, strict=True))) for each in series]
    return Plot(figure, pd.concat(frames))


def _line(system: str) -> dict:
    if system == "true":
        return {"color": TRUE, "linewidth": 1.2, "zorder": 3}
    return {"color": colour(system), "linewidth": 0.9, "zorder": 4, "alpha": 0.9}
