"""The accuracy track: R2 of both velocity components."""

from __future__ import annotations

import pandas as pd

from spikereach.reporting import cells
from spikereach.reporting.cells import Rows, Systems, count
from spikereach.reporting.render import Table


def r2(frame: pd.DataFrame, systems: Systems) -> Table:
    rows = Rows(
        frame,
        systems,
        beside=["r2", "r2_std"],
        further=["r2_x", "r2_x_std", "r2_y", "r2_y_std", "parameters"],
    )
    return rows.table(
        "r2",
        "Accuracy track. R² over the whole test split: mean of the horizontal (x) and vertical "
        "(y) velocity's; parameters as the mean over the sessions",
        [
            *rows.names(),
            rows.column("x", "R² per component", cells.r2, "r2_x", "r2_x_std"),
            rows.column("y", "R² per component", cells.r2, "r2_y", "r2_y_std"),
            *rows.beside("R²", "r2", cells.r2, std=True),
            rows.column("Parameters", "", count, "parameters"),
        ],
    )
