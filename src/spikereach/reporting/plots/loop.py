"""A user's control of the cursor through a decoder: paths and velocities."""

from typing import Protocol

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from spikereach.data.matfile import STEP_S
from spikereach.reporting.plots.colours import GREY, TRUE, colour
from spikereach.reporting.plots.drawing import DOUBLE, drawn, single
from spikereach.reporting.view.loop import Trial

SHOWN = 12
"""Trials."""


class Played(Protocol):
    """See `closed_loop.loop.Played`."""

    trials: list[Trial]
    cursor: np.ndarray
    wanted: np.ndarray
    decoded: np.ndarray


def loop(played: Played, system: str, width_mm: float) -> bytes:
    """The first trials as PNG: cursor paths between targets, and what was wanted and decoded.

    Args:
        played: of one decoder.
        system: its name.
        width_mm: side of the targets.
    """
    trials = played.trials[:SHOWN]
    stop = trials[-1].first + trials[-1].steps
    time = np.arange(stop) * STEP_S
    shade = colour(system)
    with drawn(DOUBLE, 3.2) as figure:
        grid = figure.add_gridspec(2, 2, width_ratios=[1.45, 1])
        lines = [figure.add_subplot(grid[row, 0]) for row in (0, 1)]
        path = figure.add_subplot(grid[:, 1])
        for axis, (name, axes) in enumerate(zip("xy", lines, strict=True)):
            axes.axhline(0, color=GREY, linewidth=0.4)
            for label, values, look in (
                ("decoded", played.decoded, {"color": shade, "linewidth": 0.7}),
                ("wanted", played.wanted, {"color": TRUE, "linewidth": 0.9}),
            ):
                axes.plot(time, values[:stop, axis], label=label, **look)
            axes.set_ylabel(f"$v_{name}$ (mm/s)")
            axes.set_xlim(0, stop * STEP_S)
        lines[0].tick_params(labelbottom=False)
        lines[0].legend(loc="upper right", ncols=2)
        lines[1].set_xlabel("Time (s)")
        for trial in trials:
            x, y = trial.target
            corner = x - width_mm / 2, y - width_mm / 2
            look = {"edgecolor": TRUE, "linestyle": "-" if trial.success else ":"}
            path.add_patch(Rectangle(corner, width_mm, width_mm, fill=False, linewidth=0.6, **look))
        path.plot(*played.cursor[:stop].T, color=shade, linewidth=0.7)
        path.set(xlabel="$x$ (mm)", ylabel="$y$ (mm)")
        path.set_aspect("equal", adjustable="datalim")
        path.spines[["top", "right"]].set_visible(True)
        box = {"marker": "s", "linestyle": "none", "markerfacecolor": "none", "markersize": 5}
        path.legend([Line2D([], [], color=TRUE, **box)], ["target"], loc="upper right")
        about = {"loc": "left", "color": GREY, "fontsize": 6, "pad": 3}
        lines[0].set_title(f"{system}: simulated user and brain", **about)
        path.set_title(f"the first {len(trials)} targets (dotted: not reached)", **about)
        return single(figure)
