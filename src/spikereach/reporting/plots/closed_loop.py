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

    Left, throughput against latency, by the paper's rule, and of one decoder with delays added to
    it; right, against open-loop R2. Grey: the arm itself.

    Args:
        frame: from `collect`.
        loops: of the same decoders, and of the arm.
        systems: drawn, in order.
        delayed: the system with added delays.
    """
    check_present(frame, systems)
    both = frame.merge(loop_frame(loops), on=KEY)
    means = both.groupby("system")[["r2", "latency_ms", "throughput_bit_s"]].mean()
    rows = [("system", name, 0.0, *means.loc[name]) for name in systems]
    found = [
        (each.session, control.added_delay_ms, control.throughput_bit_s)
        for each in loops
        for control in each.controls
        if (each.system, control.task, control.feedback) == (delayed, "random", "moving")
    ]
    if delayed in means.index:
        by_delay = pd.DataFrame(found, columns=["session", "delay", "bits"]).groupby("delay")
        r2, latency = means.loc[delayed, ["r2", "latency_ms"]]
        rows += [
            ("delayed", delayed, delay, r2, latency + delay, bits)
            for delay, bits in by_delay["bits"].mean().items()
        ]
    arms = [each for each in loop_frame(loops).itertuples() if each.system == ARM]
    arm = sum(each.throughput_bit_s for each in arms) / len(arms)
    rows.append(("system", ARM, 0.0, None, None, arm))
    columns = ["series", "system", "added_delay_ms", "r2", "latency_ms", "throughput_bit_s"]
    data = pd.DataFrame(rows, columns=columns)
    with drawing.drawn(drawing.DOUBLE, 2.9) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        curve = data[data["series"] == "delayed"]
        left.plot(curve["latency_ms"], curve["throughput_bit_s"], color=colour(delayed), lw=0.8)
        for row in data[(data["series"] == "system") & data["r2"].notna()].itertuples():
            look = {"marker": marker(row.system), "s": 22, "color": colour(row.system)}
            left.scatter(row.latency_ms, row.throughput_bit_s, zorder=3, **look)
            right.scatter(row.r2, row.throughput_bit_s, zorder=3, **look)
        left.axvline(REAL_TIME_MS, **drawing.DASHED)
        for axes in (left, right):
            axes.axhline(arm, color=GREY, linewidth=0.8, linestyle=":")
            axes.grid(axis="y")
        left.set(xlabel="Latency (ms)", ylabel="Throughput (bit/s)", xlim=(0, None))
        left.set_ylim(0, None)
        right.set_xlabel("Open-loop test $R^2$")
        entries = {name: drawing.dot(colour(name), marker=marker(name)) for name in systems}
        entries[f"{delayed} with added delay"] = Line2D([], [], color=colour(delayed), lw=0.8)
        entries[f"{REAL_TIME_MS:g} ms"] = Line2D([], [], **drawing.DASHED)
        entries["the arm itself"] = Line2D([], [], color=GREY, linewidth=0.8, linestyle=":")
        drawing.legend_above(figure, entries)
        drawing.note(right, source_of(frame))
    return drawing.Plot(figure, data)
