"""R2 against the memory and the instructions of decoders on a microcontroller."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.lines import Line2D

from spikereach.data.matfile import STEP_S
from spikereach.export.firmware.machines import MACHINES
from spikereach.export.firmware.record import Firmware
from spikereach.reporting.cells import Systems
from spikereach.reporting.collect import check_present, source_of
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, colour, marker
from spikereach.reporting.tables.deployment import FIRST, deployment_frame


def deployment(
    frame: pd.DataFrame, firmware: Sequence[Firmware], systems: Systems, clock_hz: float
) -> drawing.Plot:
    """R2 against flash plus RAM, and against the instructions of a bin: median and worst.

    Dashed: the instructions of a bin's 4 ms with one cycle for each.

    Args:
        frame: from `collect`.
        firmware: of the same decoders.
        systems: drawn, in order.
        clock_hz: of the microcontroller.
    """
    check_present(frame, systems)
    whole, rows = deployment_frame(frame, firmware, clock_hz), []
    for name in systems:
        part = whole[whole["system"] == name]
        means = part[["r2", *(f"{FIRST}_{key}" for key in ("flash_bytes", "ram_bytes"))]].mean()
        median = part[f"{FIRST}_instructions_median"].mean()
        rows.append((name, *means, median, part[f"{FIRST}_instructions_worst"].max()))
    columns = ["system", "r2", "flash_kb", "ram_kb", "instructions_median", "instructions_worst"]
    data = pd.DataFrame(rows, columns=columns)
    data[["flash_kb", "ram_kb"]] /= 1e3
    with drawing.drawn(drawing.DOUBLE, 2.9) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for row in data.itertuples(index=False):
            look = {"marker": marker(row.system), "s": 22, "edgecolors": colour(row.system)}
            left.scatter(row.flash_kb + row.ram_kb, row.r2, facecolors=colour(row.system), **look)
            ends = [row.instructions_median / 1e3, row.instructions_worst / 1e3]
            right.plot(ends, [row.r2] * 2, color=colour(row.system), linewidth=0.5, alpha=0.6)
            for end, inside in zip(ends, ("white", colour(row.system)), strict=True):
                right.scatter(end, row.r2, facecolors=inside, zorder=3, **look)
        right.axvline(clock_hz * STEP_S / 1e3, **drawing.DASHED)
        drawing.logarithmic(left, "Flash and RAM (kB)")
        drawing.logarithmic(right, f"{MACHINES[FIRST].title}, thousand instructions per 4 ms bin")
        left.set_ylabel("Test $R^2$")
        entries = {name: drawing.dot(colour(name), marker=marker(name)) for name in systems}
        entries["median bin"] = drawing.dot(GREY, markerfacecolor="white")
        entries["worst bin"] = drawing.dot(GREY)
        entries[f"4 ms at {clock_hz / 1e6:g} MHz"] = Line2D([], [], **drawing.DASHED)
        drawing.legend_above(figure, entries)
        drawing.note(right, source_of(frame))
    return drawing.Plot(figure, data)
