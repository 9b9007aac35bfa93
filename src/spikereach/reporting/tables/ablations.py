"""The ablations of cortex areas and of compression as tables, ours beside the published figures."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from spikereach.reporting import ablations
from spikereach.reporting.captions import result_table
from spikereach.reporting.cells import Systems, count, r2, share, significant
from spikereach.reporting.render import Column, Table


def cortex(frame: pd.DataFrame, labels: Mapping[str, str]) -> Table:
    """Arguments as of `ablations.cortex`."""
    values = ablations.cortex(frame, labels)
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


def compression(frame: pd.DataFrame, labels: Mapping[str, str], systems: Systems) -> Table:
    """Arguments as of `ablations.compression`."""
    values = ablations.compression(frame, labels, systems)
    ours = list(map(r2, values["r2"], values["r2_std"]))
    if values["r2_published"].notna().any():
        theirs = list(map(r2, values["r2_published"]))
        accuracy = [Column("ours", ours, "R²"), Column("publ.", theirs, "R²")]
    else:
        accuracy = [Column("R²", ours)]
    printed = {
        "Footprint (bytes)": ("footprint_bytes", count),
        "Zero weights": ("connection_sparsity", share),
        "MACs": ("macs", count),
        "ACs": ("acs", count),
        "Energy (nJ)": ("energy_nj", significant),
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
