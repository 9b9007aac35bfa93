"""The co-optimisation track: accuracy, footprints, operations and the real-time verdict."""

from __future__ import annotations

import pandas as pd

from spikereach.reporting.cells import Rows, Systems, as_printed, cost, count, r2, yes
from spikereach.reporting.render import Table


def coopt(frame: pd.DataFrame, systems: Systems) -> Table:
    rows = Rows(
        frame,
        systems,
        beside=["r2", "r2_std", "footprint", "macs", "macs_std", "acs", "acs_std", "realtime"],
        further=["weights_bytes", "buffers_bytes", "states_bytes", "deployment_bytes"],
    )
    return rows.table(
        "coopt",
        "Co-optimisation track. R² over the whole test split; footprint in bytes as NeuroBench "
        "counts it (NB) and as deployed (weights at their bit width, streaming buffers, "
        "states); published ones (publ.) are of the latter kind for the nets of Krausse et al. "
        "and Vasilache et al., of the former for the others; effective multiply-accumulates "
        "(MACs) and accumulates (ACs) per 4 ms step",
        [
            *rows.names(),
            *rows.beside("R²", "r2", r2, std=True),
            rows.column("NB", "Footprint", count, "footprint"),
            rows.column("deployed", "Footprint", count, "deployment_bytes"),
            rows.column("publ.", "Footprint", count, "footprint_published"),
            *rows.beside("MACs", "macs", cost, as_printed, std=True),
            *rows.beside("ACs", "acs", cost, as_printed, std=True),
            *rows.beside("Real-time", "realtime", yes, align="c"),
        ],
        costs=True,
    )
