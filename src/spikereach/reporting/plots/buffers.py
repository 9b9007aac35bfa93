"""Frames that streaming keeps (figure 3); computed, no data."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from spikereach.models.buffers import layer_buffers
from spikereach.reporting.cells import Systems
from spikereach.reporting.plots.drawing import COLUMN, DOUBLE, Plot, legend_above, new_figure, style


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
        legend_above(figure, {label: Patch(color=shade) for label, shade in kinds.values()})
    data = pd.concat([table.assign(system=name) for name, table in layers.items()])
    return Plot(figure, data[["system", "layer", *kinds]])
