"""The table of the frontier: what is trained here beside what is published, row by row."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from spikereach.published import figures
from spikereach.reporting import cells
from spikereach.reporting.cells import Systems, as_printed, count, number, result_table, share, yes
from spikereach.reporting.frontier import CITED, placed
from spikereach.reporting.render import Column, Table
from spikereach.reporting.tables import notes

COLUMNS = [
    *("system", "origin", "source", "pretraining", "spiking", "r2", "r2_std", "bytes", "macs"),
    *("acs", "energy_nj", "latency_ms", "connection_sparsity", "activation_sparsity"),
    "non_dominated",
]


def frontier(frame: pd.DataFrame, systems: Systems) -> Table:
    """Accuracy and costs of the systems trained here, and of all published ones as cited.

    Args:
        frame: from `collect`, with metrics and real-time checks.
        systems: those trained here, in order.
    """
    rows = placed(frame, systems)
    cited = [
        {"system": row["system"]}
        | {f"{key}_published": each for key, each in vars(figures.system(row["system"])).items()}
        for row in rows
        if row["origin"] == CITED
    ]
    text = {key: [row[key] for row in rows] for key in COLUMNS}
    energy = number("{:.3g}")
    sources = [figures.citation(each) if each else "here" for each in text["source"]]
    r2 = list(map(cells.r2, text["r2"], text["r2_std"]))
    columns = [
        Column("System", text["system"], align="l"),
        Column("From", sources, align="l"),
        Column("Pretraining", [each or "as configured" for each in text["pretraining"]], align="l"),
        Column("R²", r2),
        Column("Bytes", list(map(count, text["bytes"]))),
        Column("MACs", [_operations(row, "macs") for row in rows], "Operations"),
        Column("ACs", [_operations(row, "acs") for row in rows], "Operations"),
        Column("nJ", list(map(energy, text["energy_nj"])), "Energy"),
        Column("ms", list(map(as_printed, text["latency_ms"])), "Latency"),
        Column("weights", list(map(share, text["connection_sparsity"])), "Sparsity"),
        Column("spikes", list(map(share, text["activation_sparsity"])), "Sparsity"),
        Column("Front", list(map(yes, text["non_dominated"])), align="c"),
    ]
    return result_table(
        "frontier",
        "The frontier: R² over the whole test split, bytes, effective operations per 4 ms step and "
        "their energy, latency, and share of weights and of activations that are zero. Systems "
        "trained here stand above, published ones as cited below: nobody trained those here, and "
        "their protocols differ, first of all in pretraining (monkey: on other sessions of "
        "the same monkey)",
        frame[frame["system"].isin(systems)],
        pd.DataFrame(text, dtype=object),
        columns,
        rows=cited,
        costs=True,
        notes=(
            "Front: no other system trained here has at least its R² at no more bytes, energy and "
            "latency. Published ones are not judged: their figures come by other protocols.",
            "Bytes of systems trained here are those of the deployed decoder. Published ones are "
            "as printed: of the nets of Krausse et al. and Vasilache et al. with streaming "
            "buffers, of the others as NeuroBench counts them.",
            "Energy is that of the operations alone at 45 nm (Horowitz 2014), in the number "
            "formats of weights and buffers; of a published system that is not trained here, in "
            "float32.",
            notes.deviations(cited, {"r2": "R²"}),
        ),
    )


def _operations(row: Mapping[str, Any], key: str) -> str:
    return count(row[key]) if row["origin"] == CITED else cells.cost(row[key], math.nan)
