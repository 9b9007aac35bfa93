"""Frames that streaming keeps (figure 3) and latency (figure 4); computed, no data."""

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from spikereach.data.matfile import STEP_S
from spikereach.models.buffers import layer_buffers
from spikereach.published import figures
from spikereach.reporting.cells import Systems
from spikereach.reporting.plots.colours import TRUE, colour
from spikereach.reporting.plots.drawing import COLUMN, DOUBLE, Plot, drawn, legend_above

LONGEST_KERNEL = 41


def buffers(systems: Systems) -> Plot:
    """Frames per layer for one keypoint, by the paper's algorithm (Krausse et al. 2025).

    Args:
        systems: with convolutions.
    """
    layers = {
        name: pd.DataFrame(layer_buffers([kernel * 2**block for block in range(blocks)]))
        for name, system in systems.items()
        for kernel, blocks in [(system.sizes["kernel"], system.sizes["blocks"])]
    }
    kinds = {
        "receptive_field": ("receptive field", "#C8C8C8"),
        "needed": ("needed for the new data (kept)", "#4A4A4A"),
        "new": ("new per keypoint", "#44AA99"),
    }
    longest = max(map(len, layers.values()))
    with drawn(COLUMN if len(layers) == 1 else DOUBLE, 0.8 + 0.35 * longest) as figure:
        panels = figure.subplots(1, len(layers), squeeze=False)[0]
        for axes, (name, table) in zip(panels, layers.items(), strict=True):
            for index, (kind, (_, shade)) in enumerate(kinds.items()):
                at = np.arange(len(table)) + (1 - index) * 0.27
                bars = axes.barh(at, table[kind], height=0.25, color=shade)
                axes.bar_label(bars, padding=2, fontsize=5.5)
            axes.set_yticks(range(len(table)), table["layer"])
            axes.invert_yaxis()
            axes.set_xscale("log")
            axes.set_xlim(0.8, table[list(kinds)].to_numpy().max() * 1.8)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_xlabel("Frames")
            axes.set_title(name)
        legend_above(figure, {label: Patch(color=shade) for label, shade in kinds.values()})
    data = pd.concat([table.assign(system=name) for name, table in layers.items()])
    return Plot(figure, data[["system", "layer", *kinds]])


def latency() -> Plot:
    """Latency against the kernel length k of the first block, for two and three conv blocks.

    Latency is receptive field / 2 + 1 steps, kernels are k, 2k (, 4k); the line is the
    largest latency of a real-time decoder (Krausse et al. 2025, figure 4).
    """
    rows = [
        (blocks, k, steps, (steps / 2 + 1) * STEP_S * 1e3)
        for blocks in (2, 3)
        for k in range(1, LONGEST_KERNEL + 1, 2)
        for steps in [layer_buffers([k * 2**block for block in range(blocks)])[0].receptive_field]
    ]
    data = pd.DataFrame(rows, columns=["blocks", "kernel", "receptive_field", "latency_ms"])
    limit, _ = figures.realtime_rule()
    with drawn(COLUMN, 2.3) as figure:
        axes = figure.add_subplot()
        shades = {2: colour("RTnet"), 3: colour("BMnet")}
        for blocks, part in data.groupby("blocks"):
            axes.plot(
                part["kernel"], part["latency_ms"], marker="os"[blocks - 2], markersize=3,
                color=shades[blocks], label=f"{blocks} convolutional layers",
            )  # fmt: skip
        axes.axhline(limit, color=TRUE, linestyle="--", linewidth=0.8)
        axes.annotate(
            f"{limit:g} ms", (LONGEST_KERNEL, limit), xytext=(0, -2), textcoords="offset points",
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
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=10)
        axes.set(xlabel="Kernel length $k$ (steps of 4 ms)", ylabel="Latency (ms)")
        axes.grid(which="major")
        axes.legend(loc="upper left")
    return Plot(figure, data)
