"""The systems on the frontier of accuracy and cost: trained here, and published ones as cited."""

from typing import Any

import pandas as pd

from spikereach.evaluation.energy import energy_nj
from spikereach.published import figures
from spikereach.reporting.cells import Rows, Systems
from spikereach.reporting.collect import formats
from spikereach.reporting.dominance import non_dominated

OURS, CITED = "trained here", "cited"
COSTS = ("bytes", "energy_nj", "latency_ms")


def placed(frame: pd.DataFrame, systems: Systems) -> list[dict[str, Any]]:
    """A row per system: first those trained here, in order, then the cited ones, by R2.

    Of the first, bytes are those of the deployed decoder, and dominance is among them alone:
    nobody else measured as this package does. Bytes of the others are as printed. Energy is that
    of the effective operations in the number formats of the system trained here, for a cited one
    without such a system in float32.

    Returns:
        rows of system, spiking, origin, source, pretraining, r2, r2_std, bytes, macs, acs,
        energy_nj, latency_ms, connection_sparsity, activation_sparsity and non_dominated; None or
        NaN where unknown.
    Raises:
        ResultError: a system has no results, or the frame lacks a column.
    """
    same = ["macs", "acs", "latency_ms", "connection_sparsity", "activation_sparsity"]
    ours, known = [], {}
    for row in Rows(frame, systems, further=["r2", "deployment_bytes", *same]).rows:
        numbers = formats(frame[frame["system"] == row["system"]])
        known[systems[row["system"]].published] = numbers
        ours.append(
            {key: row[key] for key in ("system", "spiking", "r2", "r2_std", *same)}
            | {"origin": OURS, "bytes": row["deployment_bytes"]}
            | {"energy_nj": energy_nj(row["macs"], row["acs"], *numbers)}
        )
    on = non_dominated([[-row["r2"], *(row[key] for key in COSTS)] for row in ours])
    cited = []
    for found in map(figures.system, figures.systems()):
        numbers = known.get(found.system, ("float32", "float32"))
        cited.append(
            {key: getattr(found, key) for key in ("system", "spiking", "r2", "r2_std", *same)}
            | {"origin": CITED, "source": found.source, "pretraining": found.pretraining}
            | {"bytes": found.footprint, "energy_nj": energy_nj(found.macs, found.acs, *numbers)}
        )
    cited.sort(key=lambda row: -row["r2"])
    none = {"source": None, "pretraining": None, "non_dominated": None}
    return [
        *(none | row | {"non_dominated": each} for row, each in zip(ours, on, strict=True)),
        *(none | row for row in cited),
    ]
