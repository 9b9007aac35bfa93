"""Latency against kernel length (figure 4); computed, no data."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import FuncFormatter

from spikereach.data.matfile import STEP_S
from spikereach.models.buffers import layer_buffers
from spikereach.published import figures
from spikereach.reporting.plots.colours import TRUE, colour
from spikereach.reporting.plots.drawing import COLUMN, Plot, new_figure, style

LONGEST_KERNEL = 41


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
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.set_ylim(bottom=10)
        axes.set(xlabel="Kernel length $k$ (steps of 4 ms)", ylabel="Latency (ms)")
        axes.grid(which="major")
        axes.legend(loc="upper left")
    return Plot(figure, data)
