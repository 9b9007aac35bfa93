"""R2 against footprint and against energy per step, ours and published."""

import pandas as pd
from matplotlib.lines import Line2D

from spikereach.evaluation.energy import energy_nj
from spikereach.published import figures
from spikereach.reporting.cells import Systems
from spikereach.reporting.collect import check_present, formats, source_of
from spikereach.reporting.dominance import pareto_front
from spikereach.reporting.plots import drawing
from spikereach.reporting.plots.colours import GREY, colour, marker


def pareto(frame: pd.DataFrame, systems: Systems) -> drawing.Plot:
    """R2 against footprint and against energy per step, ours and published.

    Our footprints are those where deployed. Published ones are as printed: those of Krausse et
    al. and Vasilache et al. are of that kind, the others NeuroBench's, without the buffers, which
    are small in these systems. Energy is that of the effective operations in the system's number
    formats (see `energy`), for both.

    Ours are filled, published ones open in the same colour, a line joins the two. Published
    ones are left out where the data are other recordings. A stair is the front of ours.
    """
    check_present(frame, systems)
    rows = []
    for name, system in systems.items():
        part = frame[frame["system"] == name]
        mean = part[["r2", "deployment_bytes", "footprint", "macs", "acs"]].mean()
        numbers = formats(part)
        energy = energy_nj(mean["macs"], mean["acs"], *numbers)
        sizes = mean["deployment_bytes"], mean["footprint"]
        rows.append((name, "ours", mean["r2"], *sizes, energy))
        if system.published is None or source_of(frame).apart:
            continue
        theirs = figures.system(system.published)
        energy = energy_nj(theirs.macs, theirs.acs, *numbers)
        rows.append((name, "published", theirs.r2, theirs.footprint, None, energy))
    sizes = ["footprint_kb", "neurobench_footprint_kb"]
    data = pd.DataFrame(rows, columns=["system", "origin", "r2", *sizes, "energy_nj"])
    data[sizes] /= 1e3
    ours, theirs = (data[data["origin"] == origin] for origin in ("ours", "published"))
    with drawing.drawn(drawing.DOUBLE, 2.9) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, column, label in (
            (left, "footprint_kb", "Footprint where deployed (kB)"),
            (right, "energy_nj", "Energy of operations per 4 ms step (nJ)"),
        ):
            front = ours.iloc[pareto_front(list(ours[column]), list(ours["r2"]))]
            axes.plot(
                front[column], front["r2"], drawstyle="steps-post", zorder=1, **drawing.DASHED
            )
            for name, part in data.groupby("system", sort=False):
                look = {"marker": marker(name), "s": 22, "edgecolors": colour(name), "zorder": 3}
                axes.plot(part[column], part["r2"], color=colour(name), linewidth=0.5, alpha=0.6)
                for points, inside in ((ours, colour(name)), (theirs, "white")):
                    own = points[points["system"] == name]
                    axes.scatter(own[column], own["r2"], facecolors=inside, **look)
            drawing.logarithmic(axes, label)
        left.set_ylabel("Test $R^2$")
        entries = {name: drawing.dot(colour(name), marker=marker(name)) for name in systems}
        entries["Pareto front"] = Line2D([], [], **drawing.DASHED)
        if len(theirs):
            entries["published"] = drawing.dot(GREY, markerfacecolor="white")
        drawing.legend_above(figure, entries)
        drawing.note(right, source_of(frame))
    return drawing.Plot(figure, data)
