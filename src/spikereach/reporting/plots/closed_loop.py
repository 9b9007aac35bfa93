"""Throughput in the loop against latency, added delay and open-loop R2."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.lines import Line2D

from spikereach.evaluation.records import Loop
from spikereach.reporting.cells import Systems
from spikereach.reporting.collect import KEY, check_present, source_of
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, colour, marker
from spikereach.reporting.tables.closed_loop import ARM, loop_frame

REAL_TIME_MS = 100.0
"""Krausse et al. 2025: the largest latency of what counts as real time."""


def closed_loop(
    frame: pd.DataFrame, loops: Sequence[Loop], systems: Systems, delayed: str
) -> drawing.Plot:
    """Random targets with a moving arm, means over the sessions; users and brains are simulated.

    Left, throughput against latency, by the paper's rule, and of one decoder and the arm itself
    with delays added to it; right, against open-loop R2.

    Args:
        frame: from `collect`.
        loops: of the same decoders, and of the arm.
        systems: drawn, in order.
        delayed: the system with added delays.
    """
    check_present(frame, systems)
    both = frame.merge(loop_frame(loops), on=KEY)
    means = both.groupby("system")[["r2", "latency_ms"]].mean().reindex([*systems, ARM])
    means.loc[ARM, "latency_ms"] = 0
    found = pd.DataFrame(
        [
            (each.system, control.added_delay_ms, control.throughput_bit_s)
            for each in loops
            for control in each.controls
            if each.system in means.index
            and (control.task, control.feedback) == ("random", "moving")
        ],
        columns=["system", "added_delay_ms", "throughput_bit_s"],
    )
    data = found.groupby(["system", "added_delay_ms"]).mean().reset_index()
    data = means.reset_index().merge(data, on="system")
    data["latency_ms"] += data["added_delay_ms"]
    points = data[data["added_delay_ms"] == 0].set_index("system")
    curves = {
        name: data[data["system"] == name][["latency_ms", "throughput_bit_s"]].to_numpy().T
        for name in (delayed, ARM)
    }
    look = {"color": GREY, "linewidth": 0.8, "linestyle": ":"}
    with drawing.drawn(drawing.DOUBLE, 2.9) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        left.plot(*curves[delayed], color=colour(delayed), linewidth=0.8)
        left.plot(*curves[ARM], **look)
        right.axhline(points.loc[ARM, "throughput_bit_s"], **look)
        for name, row in points.drop(index=ARM).iterrows():
            for axes, x in ((left, row["latency_ms"]), (right, row["r2"])):
                axes.scatter(
                    x, row["throughput_bit_s"], zorder=3, clip_on=False,
                    marker=marker(name), s=22, color=colour(name),
                )  # fmt: skip
        left.axvline(REAL_TIME_MS, **drawing.DASHED)
        for axes in (left, right):
            axes.grid(axis="y")
        left.set(xlabel="Latency (ms)", ylabel="Throughput (bit/s)", xlim=(0, None))
        left.set_ylim(0, None)
        right.set_xlabel("Open-loop test $R^2$")
        entries = {name: drawing.dot(colour(name), marker=marker(name)) for name in systems}
        if delayed in systems:
            entries[f"{delayed}, delayed"] = Line2D([], [], color=colour(delayed), linewidth=0.8)
        entries["the arm itself, delayed"] = Line2D([], [], **look)
        entries[f"{REAL_TIME_MS:g} ms"] = Line2D([], [], **drawing.DASHED)
        drawing.legend_above(figure, entries)
        about = {"loc": "left", "color": GREY, "fontsize": 6, "pad": 2}
        left.set_title("users and brains are simulated", **about)
        drawing.note(right, source_of(frame))
    return drawing.Plot(figure, data)
