"""The ablations: what the cortex areas and the steps of a compression bring.

Numbers are the mean over the sessions for each seed, then mean and population standard
deviation over the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from spikereach.config import System
from spikereach.published import figures as published
from spikereach.reporting.captions import caption, comment
from spikereach.reporting.colours import GREY, colour
from spikereach.reporting.drawing import (
    DOUBLE,
    Plot,
    check_present,
    diamond,
    new_figure,
    note,
    source_of,
    style,
)
from spikereach.reporting.energy import energy_nj, formats
from spikereach.reporting.figures import cortex_ablation
from spikereach.reporting.render import MISSING, Column, Table


def cortex_table(frame: pd.DataFrame, inputs: Mapping[str, str], *, commit: str) -> Table:
    """R2 per session and input, ours and published (Krausse et al. 2025, figure 5).

    Args:
        frame: from `collect`.
        inputs: label of the input -> system, in order.
        commit: of the code that made the results.
    """
    values = cortex_ablation(frame, inputs).data
    printed = values["r2_published"].notna().any()
    columns = [Column("Input", list(inputs), align="l")]
    for session, part in values.groupby("session"):
        part = part.set_index("input").loc[list(inputs)]
        theirs = _cells(part["r2_published"], part["r2_std_published"]) if printed else None
        columns += _beside(session, _cells(part["r2"], part["r2_std"]), theirs)
    what = "R² of BMnet over the whole test split, by the cortex areas it reads"
    if printed:
        what += ". Published (publ.): Krausse et al. 2025, read from their figure 5"
    return Table(
        name="cortex_ablation",
        caption=caption(what, frame, commit=commit, spread=True),
        comment=comment(frame, commit),
        values=values,
        columns=columns,
    )


def compression(
    frame: pd.DataFrame, steps: Mapping[str, str], systems: Mapping[str, System]
) -> pd.DataFrame:
    """One row per step: accuracy, deployment footprint, sparsity, operations, energy.

    The footprint is that of the deployment; weights are stored whole or, where that is smaller,
    as a bitmap of the zeros and the others. Energy is that of the effective operations in the
    formats of weights and buffers (see `energy`). Published values are those of the system of the
    step, on the Zenodo recordings.

    Args:
        frame: from `collect`.
        steps: what each adds -> system, in order.
        systems: their entries of the configuration.
    """
    check_present(frame, dict.fromkeys(steps.values()))
    rows = []
    for step, name in steps.items():
        part = frame[frame["system"] == name]
        weights, buffers = formats(part)
        costs = [
            energy_nj(macs, acs, weights, buffers)
            for macs, acs in zip(part["macs"], part["acs"], strict=True)
        ]
        bitmap = part["parameters"] / 8 + (1 - part["connection_sparsity"]) * part["weights_bytes"]
        saved = (part["weights_bytes"] - bitmap).clip(lower=0)
        row = {"step": step, "system": name, "weights": _bits(weights), "buffers": _bits(buffers)}
        by_seed = part.assign(
            energy_nj=costs, footprint_bytes=part["deployment_bytes"] - saved
        ).groupby("seed")
        metrics = ("r2", "footprint_bytes", "connection_sparsity", "macs", "acs", "energy_nj")
        for metric in metrics:
            row[metric], row[f"{metric}_std"] = _spread(by_seed[metric].mean())
        theirs = systems[name].published
        if theirs and source_of(frame) == "zenodo":
            figures = published.system(theirs)
            row |= {"r2_published": figures.r2, "footprint_bytes_published": figures.footprint}
            if None not in (figures.macs, figures.acs):
                printed = energy_nj(figures.macs, figures.acs, weights, buffers)
                row["energy_nj_published"] = printed
        rows.append(row)
    further = [f"{key}_published" for key in ("r2", "footprint_bytes", "energy_nj")]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*rows[0], *further])))


def compression_table(
    frame: pd.DataFrame, steps: Mapping[str, str], systems: Mapping[str, System], *, commit: str
) -> Table:
    """The steps of :func:`compression` as a table."""
    values = compression(frame, steps, systems)
    printed, unknown = values["r2_published"], pd.Series(math.nan, values.index)
    theirs = _cells(printed, unknown) if printed.notna().any() else None
    return Table(
        name="compression_ablation",
        caption=caption(
            "From RTnet to sRTnet, one step more in each row: R² over the whole test split; bits "
            "of weights and of buffers (sign + integer + fractional); footprint where deployed "
            "(weights whole, or the non-zero ones with a bitmap where that is smaller); share of "
            "weights that are zero; effective multiply-accumulates (MACs) and "
            "accumulates (ACs) per 4 ms step, and their energy at 45 nm in these number formats "
            "(Horowitz 2014), without memory traffic",
            frame[frame["system"].isin(list(steps.values()))],
            commit=commit,
            spread=True,
            costs=True,
        ),
        comment=comment(frame, commit),
        values=values,
        columns=[
            Column("Step", list(steps), align="l"),
            Column("Weights", list(values["weights"])),
            Column("Buffers", list(values["buffers"])),
            *_beside("R²", _cells(values["r2"], values["r2_std"]), theirs),
            Column("Footprint (bytes)", [f"{v:,.0f}" for v in values["footprint_bytes"]]),
            Column("Zero weights", [f"{v:.3f}" for v in values["connection_sparsity"]]),
            Column("MACs", [f"{v:,.0f}" for v in values["macs"]]),
            Column("ACs", [f"{v:,.0f}" for v in values["acs"]]),
            Column("Energy (nJ)", [_significant(v) for v in values["energy_nj"]]),
        ],
    )


def compression_plot(
    frame: pd.DataFrame, steps: Mapping[str, str], systems: Mapping[str, System]
) -> Plot:
    """R2 against deployment footprint and energy, the steps numbered and joined in order."""
    values = compression(frame, steps, systems)
    with style():
        figure = new_figure(DOUBLE, 2.7)
        grid = figure.add_gridspec(1, 3, width_ratios=[1, 1, 0.62])
        left = figure.add_subplot(grid[0])
        panels = {
            "footprint_bytes": (left, 1e3, "Footprint where deployed (kB)"),
            "energy_nj": (figure.add_subplot(grid[1], sharey=left), 1, "Energy per 4 ms step (nJ)"),
        }
        for metric, (axes, unit, label) in panels.items():
            _chain(axes, values, metric, unit)
            axes.set_xlabel(label)
            axes.set_xscale("log")
            axes.margins(x=0.1)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.grid()
        left.set_ylabel("Test $R^2$")
        panels["energy_nj"][0].tick_params(labelleft=False)
        handles = [
            Line2D([], [], color=colour(name), marker="o", linestyle="none", markersize=6)
            for name in values["system"]
        ]
        labels = [f"{n}  {step}" for n, step in enumerate(values["step"], start=1)]
        if values["r2_published"].notna().any():
            handles.append(diamond(GREY))
            labels.append("published")
        key = figure.add_subplot(grid[2])
        key.axis("off")
        key.legend(handles, labels, loc="center left", borderaxespad=0, handletextpad=0.4)
        note(panels["energy_nj"][0], frame)
    return Plot("compression_ablation", figure, values)


def _chain(axes: Axes, values: pd.DataFrame, metric: str, unit: float) -> None:
    x, y = values[metric] / unit, values["r2"]
    axes.plot(x, y, color=GREY, linewidth=0.6, zorder=2)
    shades = [colour(name) for name in values["system"]]
    stds = values["r2_std"].astype(float)
    for number, (at, r2, std, shade) in enumerate(zip(x, y, stds, shades, strict=True)):
        if not math.isnan(std):
            axes.errorbar(
                at, r2, std, fmt="none", ecolor=shade, elinewidth=0.8, capsize=1.5, capthick=0.8,
                zorder=2.5,
            )  # fmt: skip
        axes.scatter(at, r2, s=42, color=shade, zorder=3 + 0.01 * number, linewidths=0)
        axes.annotate(
            str(number + 1), (at, r2), ha="center", va="center_baseline", color="white", fontsize=5,
            zorder=3.005 + 0.01 * number,
        )  # fmt: skip
    theirs = values[f"{metric}_published"].astype(float) / unit
    axes.scatter(
        theirs, values["r2_published"].astype(float), s=12, marker="D", facecolors="white",
        edgecolors=shades, linewidths=0.8, zorder=4,
    )  # fmt: skip


def _spread(values: pd.Series) -> tuple[float, float]:
    """Mean and population deviation; no deviation of a single value."""
    return float(values.mean()), float(values.std(ddof=0)) if len(values) > 1 else math.nan


def _beside(what: str, ours: list[str], theirs: list[str] | None) -> list[Column]:
    """Ours alone, or with the published figures beside."""
    if theirs is None:
        return [Column(what, ours)]
    return [Column("ours", ours, what), Column("publ.", theirs, what)]


def _cells(mean: pd.Series, std: pd.Series) -> list[str]:
    cells = []
    for value, deviation in zip(mean, std, strict=True):
        cell = MISSING if pd.isna(value) else f"{value:.3f}".replace("-", "−")
        cells.append(cell if pd.isna(deviation) else f"{cell} ± {deviation:.3f}")
    return cells


def _significant(value: float) -> str:
    """Three digits, trailing zeros included."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _bits(number_format: str | tuple[int, int]) -> str:
    if isinstance(number_format, str):
        return number_format
    return "1+" + "+".join(map(str, number_format))
