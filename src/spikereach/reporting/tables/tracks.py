"""Tables with a row per system: ours beside the published figures."""

import pandas as pd

from spikereach.reporting import cells
from spikereach.reporting.cells import Rows, Systems, as_printed, count, share, yes
from spikereach.reporting.render import Table
from spikereach.reporting.tables import notes


def coopt(frame: pd.DataFrame, systems: Systems) -> Table:
    """The co-optimisation track: accuracy, footprints, operations and the real-time verdict."""
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
            *rows.beside("R²", "r2", cells.r2, std=True),
            rows.column("NB", "Footprint", count, "footprint"),
            rows.column("deployed", "Footprint", count, "deployment_bytes"),
            rows.column("publ.", "Footprint", count, "footprint_published"),
            *rows.beside("MACs", "macs", cells.cost, as_printed, std=True),
            *rows.beside("ACs", "acs", cells.cost, as_printed, std=True),
            *rows.beside("Real-time", "realtime", yes, align="c"),
        ],
        costs=True,
        notes=(
            notes.realtime(rows.rows, systems),
            notes.footprints(rows.rows, frame, systems),
            notes.accumulates(rows.rows, systems),
            notes.deviations(rows.rows, {"r2": "R²", "macs": "MACs", "acs": "ACs"}),
        ),
    )


def realtime(frame: pd.DataFrame, systems: Systems) -> Table:
    """Real-time capability: latency, execution rate, look-ahead and the verdict."""
    rows = Rows(
        frame,
        systems,
        beside=["latency_ms", "execution_rate_hz", "realtime"],
        further=["lookahead_declared", "lookahead_measured", "stream_buffer_bytes"],
    )
    return rows.table(
        "realtime",
        "Real-time capability: latency and rate of new predictions, bins of future input a "
        "prediction depends on (as declared by the decoder, and as measured by perturbing "
        "future bins), and bytes a streaming implementation keeps, mean over the sessions",
        [
            *rows.names(),
            *rows.beside("Latency (ms)", "latency_ms", as_printed),
            *rows.beside("Rate (Hz)", "execution_rate_hz", cells.rate),
            rows.column("declared", "Look-ahead (bins)", count, "lookahead_declared"),
            rows.column("measured", "Look-ahead (bins)", count, "lookahead_measured"),
            rows.column("Buffers (bytes)", "", count, "stream_buffer_bytes"),
            *rows.beside("Real-time", "realtime", yes, align="c"),
        ],
        notes=(notes.realtime(rows.rows, systems),),
    )


def r2(frame: pd.DataFrame, systems: Systems) -> Table:
    """The accuracy track: R2 of both velocity components."""
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
        notes=(notes.deviations(rows.rows, {"r2": "R²"}),),
    )


def cost(frame: pd.DataFrame, systems: Systems) -> Table:
    """All of NeuroBench's complexity metrics."""
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
        notes=(
            notes.footprints(rows.rows, frame, systems),
            notes.accumulates(rows.rows, systems),
        ),
    )
