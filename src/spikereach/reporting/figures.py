"""The figures: from results and published figures to PDF, PNG and the plotted data as CSV.

Every function returns a `Plot`; `drawing.write` stores it. Nothing here trains or evaluates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from spikereach.config import System
from spikereach.data.matfile import STEP_S
from spikereach.models.buffers import receptive_field
from spikereach.published import figures as published
from spikereach.reporting.collect import ResultError
from spikereach.reporting.colours import GREY, TRUE, colour, marker
from spikereach.reporting.drawing import (
    COLUMN,
    DOUBLE,
    Plot,
    check_present,
    diamond,
    legend_above,
    new_figure,
    note,
    pareto_front,
    source_of,
    style,
)
from spikereach.reporting.energy import energy_nj, formats
from spikereach.reporting.predictions import read, unit

Systems = Mapping[str, System]


# ---- Figure 1: decoded movement --------------------------------------------------------


def trajectory(
    predictions: Mapping[str, str | Path], *, source: str, start_s: float, duration_s: float
) -> Plot:
    """Spike raster, true and decoded velocity, and cursor path of a stretch of the test part.

    A decoded path is the integral of the decoded velocity from the true start, so that it
    drifts. The raster shows the channels that the first system reads.

    Args:
        predictions: system -> its ``predictions.h5``, all of one session.
        source: zenodo, local or synthetic; says the unit of positions.
        start_s: start of the stretch, in seconds after the start of the test part.
        duration_s: its length.
    Raises:
        ResultError: for a missing or damaged file, files of different sessions, or a stretch
            that does not lie inside the steps decoded by all systems.
    """
    found = {name: read(Path(path)) for name, path in predictions.items()}
    first, *others = found.values()
    for other in others:
        if (other.session, other.first_step) != (first.session, first.first_step):
            raise ResultError(
                f"predictions of {first.session} and {other.session} do not begin at the same "
                "step: draw the results of one session"
            )
    begin, count = round(start_s / first.dt_s), round(duration_s / first.dt_s)
    known = min(len(one.predicted) for one in found.values())
    if begin < 0 or count < 2 or begin + count > known:
        raise ResultError(
            f"session {first.session}: {duration_s:g} s from {start_s:g} s do not lie in the "
            f"{known * first.dt_s:.1f} s decoded by all systems; choose another stretch"
        )
    here = slice(begin, begin + count)
    time = start_s + np.arange(count) * first.dt_s
    note = f"{first.session}, seed {first.seed}" + ", synthetic data" * (source == "synthetic")

    origin = first.position[begin : begin + 1]
    movement = {"true": (first.velocity[here], first.position[here])}
    for name, one in found.items():
        part = one.predicted[here].astype(float)
        steps = np.vstack([np.zeros((1, 2)), np.cumsum(part[1:], axis=0)])
        movement[name] = (part, origin + steps)
    at, channel = np.nonzero(first.spikes[here])

    with style():
        figure = new_figure(DOUBLE, 3.6)
        grid = figure.add_gridspec(4, 2, width_ratios=[1.45, 1], height_ratios=[0.12, 1.25, 1, 1])
        raster = figure.add_subplot(grid[1, 0])
        lines = [figure.add_subplot(grid[row, 0], sharex=raster) for row in (2, 3)]
        path = figure.add_subplot(grid[1:, 1])

        raster.plot(
            time[at], channel, "|", color=TRUE, markersize=0.9, markeredgewidth=0.35, zorder=3
        )
        raster.set(ylim=(-1, first.spikes.shape[1]), ylabel="Channel")
        raster.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        raster.tick_params(labelbottom=False)
        for axis, name in enumerate("xy"):
            axes = lines[axis]
            axes.axhline(0, color=GREY, linewidth=0.4)
            for system, (velocity, _) in movement.items():
                axes.plot(time, velocity[:, axis] / first.dt_s, **_line(system))
            axes.set_ylabel(f"$v_{name}$ ({unit(source)}/s)")
        lines[0].tick_params(labelbottom=False)
        lines[1].set_xlabel("Time in the test part (s)")
        raster.set_xlim(start_s, start_s + duration_s)
        for system, (_, position) in movement.items():
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
        path.set(xlabel=f"$x$ ({unit(source)})", ylabel=f"$y$ ({unit(source)})")
        path.set_aspect("equal", adjustable="datalim")
        path.spines[["top", "right"]].set_visible(True)
        handles = [Line2D([], [], **_line(name)) for name in movement]
        key = figure.add_subplot(grid[0, :])
        key.axis("off")
        key.legend(handles, list(movement), loc="center", ncols=len(movement))
        raster.set_title(note, loc="left", color=GREY, fontsize=6, pad=3)

    data = pd.concat(
        [
            _long("raster", "spikes", time[at], channel),
            *(
                _long(f"velocity_{name}", system, time, velocity[:, axis] / first.dt_s)
                for axis, name in enumerate("xy")
                for system, (velocity, _) in movement.items()
            ),
            *(_long("path", system, *position.T) for system, (_, position) in movement.items()),
        ]
    )
    return Plot("trajectory", figure, data)


def _line(system: str) -> dict:
    if system == "true":
        return {"color": TRUE, "linewidth": 1.2, "zorder": 3}
    return {"color": colour(system), "linewidth": 0.9, "zorder": 4, "alpha": 0.9}


def _long(panel: str, series: str, x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"panel": panel, "series": series, "x": x, "y": y})


# ---- R2 per session --------------------------------------------------------------------


def r2_by_session(frame: pd.DataFrame, systems: Systems) -> Plot:
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
        for name, system in systems.items():
            part = frame[frame["system"] == name]
            if group == "mean":
                values = part.groupby("seed")["r2"].mean()
            else:
                values = part[part["session"] == group].set_index("seed")["r2"].sort_index()
            for seed, value in values.items():
                rows.append((group, name, "ours", seed, value))
            if (printed := _published_r2(frame, system, group)) is not None:
                rows.append((group, name, "published", None, printed))
    data = pd.DataFrame(rows, columns=["session", "system", "origin", "seed", "r2"])
    data["seed"] = data["seed"].astype("Int64")

    with style():
        places = len(groups) * len(systems)
        width = DOUBLE if places > 12 else COLUMN
        in_row = -(-len(groups) // -(-places // 80))  # so that dots stay apart
        rows = [groups[n : n + in_row] for n in range(0, len(groups), in_row)]
        figure = new_figure(width, 0.8 + 1.7 * len(rows))
        panels = figure.subplots(len(rows), 1, sharey=True, squeeze=False)[:, 0]
        for axes, shown in zip(panels, rows, strict=True):
            _groups(axes, data, shown, systems)
            axes.set_xlim(-0.5, in_row - 0.5)
        low, high = data["r2"].min(), data["r2"].max()
        axes.set_ylim(low - 0.08 * (high - low) - 0.01, high + 0.08 * (high - low) + 0.01)
        handles = [
            Line2D([], [], color=colour(n), marker="o", markersize=3, linewidth=1.6)
            for n in systems
        ]
        labels = list(systems)
        if (data["origin"] == "published").any():
            handles.append(diamond(GREY))
            labels.append("published")
        legend_above(figure, handles, labels, width)
        note(panels[0], frame)
    return Plot("r2_by_session", figure, data)


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
            axes.scatter(
                np.full(len(theirs), x), theirs, s=13, marker="D", facecolors="white",
                edgecolors=colour(name), linewidths=0.6, zorder=4,
            )  # fmt: skip
    axes.set_xticks(range(len(groups)), [_two_lines(group) for group in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("Test $R^2$")
    axes.grid(axis="y")


def _published_r2(frame: pd.DataFrame, system: System, group: str) -> float | None:
    """The published mean of a session or of all six; None on other data."""
    if source_of(frame) != "zenodo" or system.published is None:
        return None
    if group == "mean":
        six = set(published.sessions().values())
        return published.system(system.published).r2 if set(frame["session"]) == six else None
    seeds = published.per_session(system.published, "r2").get(group)
    return None if seeds is None else float(np.mean(seeds))


def _two_lines(session: str) -> str:
    """``indy_20160622_01`` over two lines, so that ticks do not touch."""
    return session.replace("_", "\n", 1)


# ---- Figure 3: buffers -----------------------------------------------------------------


def buffers(layers: Mapping[str, pd.DataFrame]) -> Plot:
    """Frames per layer for one keypoint, by the paper's algorithm (Krausse et al. 2025).

    Args:
        layers: system -> one row per layer from the input on, with the columns layer,
            receptive_field, new, needed (`models.buffers.LayerBuffer`).
    """
    kinds = {
        "receptive_field": ("receptive field", "#C8C8C8"),
        "needed": ("needed for the new data (kept)", "#4A4A4A"),
        "new": ("new per keypoint", "#44AA99"),
    }
    with style():
        longest = max(map(len, layers.values()))
        figure = new_figure(COLUMN if len(layers) == 1 else DOUBLE, 0.8 + 0.35 * longest)
        panels = figure.subplots(1, len(layers), squeeze=False)[0]
        for axes, (name, table) in zip(panels, layers.items(), strict=True):
            for index, (kind, (_, shade)) in enumerate(kinds.items()):
                at = np.arange(len(table)) + (1 - index) * 0.27
                axes.barh(at, table[kind], height=0.25, color=shade)
                for y, value in zip(at, table[kind], strict=True):
                    axes.annotate(
                        str(value), (value, y), xytext=(2, 0), textcoords="offset points",
                        va="center", fontsize=5.5,
                    )  # fmt: skip
            axes.set_yticks(range(len(table)), table["layer"])
            axes.invert_yaxis()
            axes.set_xscale("log")
            axes.set_xlim(0.8, table[list(kinds)].to_numpy().max() * 1.8)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.set_xlabel("Frames")
            axes.set_title(name)
        handles = [Patch(color=shade) for _, shade in kinds.values()]
        labels = [label for label, _ in kinds.values()]
        legend_above(figure, handles, labels, figure.get_figwidth())
    data = pd.concat([table.assign(system=name) for name, table in layers.items()])
    return Plot("buffers", figure, data[["system", "layer", *kinds]])


# ---- Figure 4: latency -----------------------------------------------------------------


def latency(*, longest_kernel: int = 41) -> Plot:
    """Latency against the kernel length k of the first block, for two and three conv blocks.

    Latency is receptive field / 2 + 1 steps, kernels are k, 2k (, 4k); the line is the
    largest latency of a real-time decoder (Krausse et al. 2025, figure 4).
    """
    rows = [
        (blocks, k, steps, (steps / 2 + 1) * STEP_S * 1e3)
        for blocks in (2, 3)
        for k in range(1, longest_kernel + 1, 2)
        for steps in [receptive_field([k * 2**block for block in range(blocks)])]
    ]
    data = pd.DataFrame(rows, columns=["blocks", "kernel", "receptive_field", "latency_ms"])
    limit, _ = published.realtime_rule()
    with style():
        figure = new_figure(COLUMN, 2.3)
        axes = figure.add_subplot()
        shades = {2: colour("RTnet"), 3: colour("BMnet")}
        for blocks, part in data.groupby("blocks"):
            axes.plot(
                part["kernel"], part["latency_ms"], marker="os"[blocks - 2], markersize=3,
                color=shades[blocks], label=f"{blocks} convolutional layers",
            )  # fmt: skip
        axes.axhline(limit, color=TRUE, linestyle="--", linewidth=0.8)
        axes.annotate(
            f"{limit:g} ms", (longest_kernel, limit), xytext=(0, -2), textcoords="offset points",
            ha="right", va="top",
        )  # fmt: skip
        for name, k, blocks in (("RTnet", 9, 2), ("BMnet", 31, 3)):
            y = data[(data["kernel"] == k) & (data["blocks"] == blocks)]["latency_ms"]
            axes.plot(
                k, y, "o", markersize=7, markerfacecolor="none", color=TRUE, markeredgewidth=0.7
            )
            axes.annotate(
                name, (k, float(y.iloc[0])), xytext=(5, -9 if blocks == 2 else -4),
                textcoords="offset points", va="top",
            )  # fmt: skip
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.set_ylim(bottom=10)
        axes.set(xlabel="Kernel length $k$ (steps of 4 ms)", ylabel="Latency (ms)")
        axes.grid(which="major")
        axes.legend(loc="upper left")
    return Plot("latency", figure, data)


# ---- Figure 5: cortex ablation ---------------------------------------------------------


def cortex_ablation(frame: pd.DataFrame, inputs: Mapping[str, str]) -> Plot:
    """R2 per session for decoders of different cortex areas, mean and deviation over seeds.

    Args:
        frame: from `collect`.
        inputs: label of the input (M1, S1, M1+S1, pre-LIF, post-LIF) -> system, in order.
    """
    check_present(frame, dict.fromkeys(inputs.values()))
    printed = published.cortex_ablation() if source_of(frame) == "zenodo" else {}
    sessions = sorted(frame["session"].unique())
    rows = []
    for session in sessions:
        for label, name in inputs.items():
            part = frame[(frame["session"] == session) & (frame["system"] == name)]["r2"]
            std = float(part.std(ddof=0)) if len(part) > 1 else math.nan
            theirs = printed.get(session, {}).get(label, (math.nan, math.nan))
            rows.append((session, label, name, float(part.mean()), std, *theirs))
    columns = ["session", "input", "system", "r2", "r2_std", "r2_published", "r2_std_published"]
    data = pd.DataFrame(rows, columns=columns)
    with style():
        width = COLUMN if len(sessions) <= 3 else DOUBLE
        figure = new_figure(width, 2.4)
        axes = figure.add_subplot()
        step = 0.84 / len(inputs)
        for index, (label, name) in enumerate(inputs.items()):
            part = data[data["input"] == label]
            x = np.arange(len(sessions)) + (index - (len(inputs) - 1) / 2) * step
            axes.bar(x, part["r2"], 0.9 * step, color=colour(name), label=label)
            _errors(axes, x - 0.12 * step, part["r2"], part["r2_std"])
            _errors(axes, x + 0.2 * step, part["r2_published"], part["r2_std_published"])
            axes.scatter(
                x + 0.2 * step, part["r2_published"], s=9, marker="D", facecolors="white",
                edgecolors=TRUE, linewidths=0.6, zorder=4,
            )  # fmt: skip
        axes.set_xticks(range(len(sessions)), [_two_lines(session) for session in sessions])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Test $R^2$")
        axes.grid(axis="y")
        handles, labels = axes.get_legend_handles_labels()
        if printed.keys() & set(sessions):
            handles.append(diamond(TRUE))
            labels.append("published")
        legend_above(figure, handles, labels, width)
        note(axes, frame)
    return Plot("cortex_ablation", figure, data)


def _errors(axes: Axes, x: np.ndarray, mean: pd.Series, std: pd.Series) -> None:
    shown = std.notna().to_numpy()
    axes.errorbar(
        x[shown], mean[shown], std[shown], fmt="none", ecolor=TRUE, elinewidth=0.7, capsize=1.2,
        capthick=0.7, zorder=3,
        path_effects=[withStroke(linewidth=1.7, foreground="white")],  # seen on dark bars too
    )  # fmt: skip


# ---- Pareto ----------------------------------------------------------------------------


def pareto(frame: pd.DataFrame, systems: Systems) -> Plot:
    """R2 against footprint and against energy per step, ours and published.

    Our footprints are those where deployed. Published ones are as printed: those of Krausse et
    al. and Vasilache et al. are of that kind, the others NeuroBench's, without the buffers, which
    are small in these systems. Energy is that of the effective operations in the system's number
    formats (see `energy`), for both.

    Ours are filled, published ones open in the same colour, a line joins the two. Published
    ones are left out unless the data are the Zenodo recordings. A stair is the front of ours.
    """
    check_present(frame, systems)
    rows = []
    for name, system in systems.items():
        part = frame[frame["system"] == name]
        mean = part[["r2", "deployment_bytes", "footprint", "macs", "acs"]].mean()
        numbers = formats(part)
        energy = energy_nj(mean["macs"], mean["acs"], *numbers)
        sizes = (mean["deployment_bytes"] / 1e3, mean["footprint"] / 1e3)
        rows.append((name, "ours", mean["r2"], *sizes, energy))
        if system.published is None or source_of(frame) != "zenodo":
            continue
        theirs = published.system(system.published)
        costs = (theirs.macs, theirs.acs)
        energy = math.nan if None in costs else energy_nj(*costs, *numbers)
        footprint = math.nan if theirs.footprint is None else theirs.footprint / 1e3
        rows.append((name, "published", theirs.r2, footprint, math.nan, energy))
    data = pd.DataFrame(
        rows,
        columns=["system", "origin", "r2", "footprint_kb", "neurobench_footprint_kb", "energy_nj"],
    )
    with style():
        figure = new_figure(DOUBLE, 2.9)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, column, label in zip(
            panels,
            ("footprint_kb", "energy_nj"),
            ("Footprint where deployed (kB)", "Energy of operations per 4 ms step (nJ)"),
            strict=True,
        ):
            ours = data[data["origin"] == "ours"]
            front = ours.iloc[pareto_front(list(ours[column]), list(ours["r2"]))]
            axes.plot(
                front[column], front["r2"], drawstyle="steps-post", color=GREY, linewidth=0.8,
                linestyle="--", zorder=1,
            )  # fmt: skip
            for name, part in data.groupby("system", sort=False):
                look = {"marker": marker(name), "s": 22, "edgecolors": colour(name), "zorder": 3}
                ours = part[part["origin"] == "ours"]
                theirs = part[part["origin"] == "published"]
                axes.plot(part[column], part["r2"], color=colour(name), linewidth=0.5, alpha=0.6)
                axes.scatter(ours[column], ours["r2"], facecolors=colour(name), **look)
                axes.scatter(theirs[column], theirs["r2"], facecolors="white", **look)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(label)
            axes.grid()
        panels[0].set_ylabel("Test $R^2$")
        handles = [
            Line2D([], [], color=colour(n), marker=marker(n), linestyle="none") for n in systems
        ]
        handles.append(Line2D([], [], color=GREY, linewidth=0.8, linestyle="--"))
        labels = [*systems, "Pareto front"]
        if (data["origin"] == "published").any():
            handles.append(
                Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="none")
            )
            labels.append("published")
        legend_above(figure, handles, labels, DOUBLE)
        note(panels[1], frame)
    return Plot("pareto", figure, data)
