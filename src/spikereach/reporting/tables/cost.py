"""All of NeuroBench's complexity metrics."""

from __future__ import annotations

import pandas as pd

from spikereach.reporting.cells import Rows, Systems, count, share
from spikereach.reporting.render import Table


def cost(frame: pd.DataFrame, systems: Systems) -> Table:
    printed = {
        "footprint": ("Footprint", count),
        "connection_sparsity": ("Connection sp.", share),
        "activation_sparsity": ("Activation sp.", share),
        "dense": ("Dense", count),
        "macs": ("MACs", count),
        "acs": ("ACs", count),
    }
    further = [f"{metric}_std" for metric in printed]
    rows = Rows(frame, systems, beside=list(printed), further=further)
    columns = rows.names()[:1]
    for metric, (heading, form) in printed.items():
        columns += rows.beside(heading, metric, form)
    return rows.table(
        "cost",
        "Cost by NeuroBench: footprint in bytes (published ones of the nets of Krausse et al. "
        "and Vasilache et al. include buffers), share of weights and of activations that are "
        "zero, dense operations and effective MACs and ACs per 4 ms step; means over the "
        "sessions and seeds",
        columns,
        costs=True,
    )
