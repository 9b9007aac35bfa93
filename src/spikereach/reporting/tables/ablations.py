"""What cortex areas, steps of a compression and latency bring, in numbers and as tables.

Numbers are the mean over the sessions for each seed, then mean and population standard
deviation over the seeds; published ones stand beside those of the Zenodo recordings alone.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pandas as pd

from spikereach.evaluation.energy import energy_nj
from spikereach.published import figures as published
from spikereach.reporting import cells
from spikereach.reporting.cells import Systems, bits, count, r2, result_table, spread
from spikereach.reporting.collect import check_present, formats, source_of
from spikereach.reporting.render import Column, Table


def cortex_values(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """R2 per session and input, mean and deviation over seeds (Krausse et al. 2025, figure 5).

    Args:
        frame: from `collect`.
        labels: label of the input (M1, S1, M1+S1, pre-LIF, post-LIF) -> system, in order.
    """
    printed = {} if source_of(frame).apart else published.cortex_ablation()
    rows = []
    for row, _ in _inputs(frame, labels):
        theirs = printed.get(row["session"], {}).get(row["input"], (math.nan, math.nan))
        rows.append(row | dict(zip(("r2_published", "r2_std_published"), theirs, strict=True)))
    return pd.DataFrame(rows)


def fusion_values(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """R2 per session and input, and when the spikes of one area are set to zero in the test.

    Arguments as of `cortex_values`. Of each area that is silenced: ``r2_AREA_silent`` and
    ``r2_std_AREA_silent``, unknown for decoders that read one area alone.
    """
    rows = []
    for row, part in _inputs(frame, labels):
        for area in silenced_areas(frame):
            found = part["silenced"].map(lambda each, area=area: each.get(area, math.nan))
            row[f"r2_{area}_silent"], row[f"r2_std_{area}_silent"] = spread(found)
        rows.append(row)
    return pd.DataFrame(rows)


def silenced_areas(frame: pd.DataFrame) -> list[str]:
    """The areas that were silenced in some result."""
    return sorted({area for each in frame["silenced"] for area in each})


def _inputs(
    frame: pd.DataFrame, labels: Mapping[str, str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """A row per session and input, and the results it is of."""
    check_present(frame, labels.values())
    for session, (label, name) in product(sorted(frame["session"].unique()), labels.items()):
        part = frame[(frame["session"] == session) & (frame["system"] == name)]
        mean, std = spread(part["r2"])
        row = {"session": session, "input": label, "system": name, "r2": mean, "r2_std": std}
        yield row, part


def cortex(frame: pd.DataFrame, labels: Mapping[str, str]) -> Table:
    """Arguments as of `cortex_values`."""
    values = cortex_values(frame, labels)
    printed = values["r2_published"].notna().any()
    columns = [Column("Input", list(labels), align="l")]
    for session, part in values.groupby("session"):
        part = part.set_index("input").loc[list(labels)]
        ours = list(map(r2, part["r2"], part["r2_std"]))
        theirs = list(map(r2, part["r2_published"], part["r2_std_published"]))
        if printed:
            columns += [Column("ours", ours, session), Column("publ.", theirs, session)]
        else:
            columns.append(Column(session, ours))
    what = "R² of BMnet over the whole test split, by the cortex areas it reads"
    if printed:
        what += ". Published (publ.): Krausse et al. 2025, read from their figure 5"
    return result_table("cortex_ablation", what, frame, values, columns)


def fusion(frame: pd.DataFrame, labels: Mapping[str, str]) -> Table:
    """Arguments as of `cortex_values`."""
    values = fusion_values(frame, labels)
    shown = {"all": ""} | {f"no {area}": f"_{area}_silent" for area in silenced_areas(frame)}
    columns = [Column("Input", list(labels), align="l")]
    for session, part in values.groupby("session"):
        part = part.set_index("input").loc[list(labels)]
        for head, ending in shown.items():
            found = list(map(r2, part[f"r2{ending}"], part[f"r2_std{ending}"]))
            columns.append(Column(head, found, session))
    what = (
        "Areas that aid another: R² over the whole test split, with all areas and when the spikes "
        "of one are set to zero; decoders of one area have no other"
    )
    return result_table("fusion_ablation", what, frame, values, columns)


def compression_values(
    frame: pd.DataFrame, labels: Mapping[str, str], systems: Systems
) -> pd.DataFrame:
    """One row per step: accuracy, deployment footprint, sparsity, operations, energy.

    The footprint is that of the deployment; weights are stored whole or, where that is smaller,
    as a bitmap of the zeros and the others. Energy is that of the effective operations in the
    formats of weights and buffers (see `energy`). Published values are those of the system of the
    step.

    Args:
        frame: from `collect`.
        labels: what each step adds -> system, in order.
        systems: their entries of the configuration.
    """
    check_present(frame, labels.values())
    rows = []
    for step, name in labels.items():
        part = frame[frame["system"] == name]
        weights, buffers = formats(part)
        bitmap = part["parameters"] / 8 + (1 - part["connection_sparsity"]) * part["weights_bytes"]
        saved = (part["weights_bytes"] - bitmap).clip(lower=0)
        row = {"step": step, "system": name, "weights": bits(weights), "buffers": bits(buffers)}
        by_seed = part.assign(
            footprint_bytes=part["deployment_bytes"] - saved,
            energy_nj=energy_nj(part["macs"], part["acs"], weights, buffers),
        ).groupby("seed")
        for metric in ("r2", "footprint_bytes", "connection_sparsity", "macs", "acs", "energy_nj"):
            row[metric], row[f"{metric}_std"] = spread(by_seed[metric].mean())
        row |= dict.fromkeys(("r2_published", "footprint_bytes_published", "energy_nj_published"))
        theirs = systems[name].published
        if theirs and not source_of(frame).apart:
            figures = published.system(theirs)
            row |= {"r2_published": figures.r2, "footprint_bytes_published": figures.footprint}
            row["energy_nj_published"] = energy_nj(figures.macs, figures.acs, weights, buffers)
        rows.append(row)
    return pd.DataFrame(rows)


def compression(frame: pd.DataFrame, labels: Mapping[str, str], systems: Systems) -> Table:
    """Arguments as of `compression_values`."""
    values = compression_values(frame, labels, systems)
    ours = list(map(r2, values["r2"], values["r2_std"]))
    if values["r2_published"].notna().any():
        theirs = list(map(r2, values["r2_published"]))
        accuracy = [Column("ours", ours, "R²"), Column("publ.", theirs, "R²")]
    else:
        accuracy = [Column("R²", ours)]
    printed = {
        "Footprint (bytes)": ("footprint_bytes", count),
        "Zero weights": ("connection_sparsity", cells.share),
        "MACs": ("macs", count),
        "ACs": ("acs", count),
        "Energy (nJ)": ("energy_nj", cells.significant),
    }
    return result_table(
        "compression_ablation",
        "From RTnet to sRTnet, one step more in each row: R² over the whole test split; bits "
        "of weights and of buffers (sign + integer + fractional); footprint where deployed "
        "(weights whole, or the non-zero ones with a bitmap where that is smaller); share of "
        "weights that are zero; effective multiply-accumulates (MACs) and "
        "accumulates (ACs) per 4 ms step, and their energy at 45 nm in these number formats "
        "(Horowitz 2014), without memory traffic",
        frame,
        values,
        [
            Column("Step", list(labels), align="l"),
            Column("Weights", list(values["weights"])),
            Column("Buffers", list(values["buffers"])),
            *accuracy,
            *(Column(head, list(map(form, values[key]))) for head, (key, form) in printed.items()),
        ],
        costs=True,
    )


def latency_values(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """R2 and latency of each decoder, in order of latency.

    Args:
        frame: from `collect`, of both files of every run.
        labels: what a decoder is called -> system.
    """
    check_present(frame, labels.values())
    rows = []
    for label, name in labels.items():
        part = frame[frame["system"] == name]
        timing = [int(part["lookahead_declared"].max()), float(part["latency_ms"].max())]
        rows.append((label, name, *timing, *spread(part.groupby("seed")["r2"].mean())))
    columns = ["decoder", "system", "lookahead", "latency_ms", "r2", "r2_std"]
    return pd.DataFrame(rows, columns=columns).sort_values("latency_ms", ignore_index=True)


def latency(frame: pd.DataFrame, labels: Mapping[str, str], systems: Systems) -> Table:
    """Arguments as of `latency_values`."""
    values = latency_values(frame, labels)
    return result_table(
        "latency_ablation",
        "R² over the whole test split against latency: data after a keypoint that it needs, in "
        "ms; and by how many steps of 4 ms velocities come late, which waits for the next "
        "keypoint, too",
        frame,
        values,
        [
            Column("Decoder", list(values["decoder"]), align="l"),
            Column("Latency (ms)", [f"{each:g}" for each in values["latency_ms"]]),
            Column("Delay (steps)", list(map(str, values["lookahead"]))),
            Column("R²", list(map(r2, values["r2"], values["r2_std"]))),
        ],
    )
