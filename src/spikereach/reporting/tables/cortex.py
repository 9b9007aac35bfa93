"""The cortex ablation as a table: R2 per session and input, ours and published."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from spikereach.reporting import ablations
from spikereach.reporting.captions import result_table
from spikereach.reporting.cells import r2
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
