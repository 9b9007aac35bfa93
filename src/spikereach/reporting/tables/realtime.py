"""Real-time capability: latency, execution rate, look-ahead and the verdict."""

from __future__ import annotations

import pandas as pd

from spikereach.published import figures
from spikereach.reporting.cells import Rows, Systems, as_printed, count, rate, yes
from spikereach.reporting.render import Table


def realtime(frame: pd.DataFrame, systems: Systems) -> Table:
    rows = Rows(
        frame,
        systems,
        beside=["latency_ms", "execution_rate_hz", "realtime"],
        further=["lookahead_declared", "lookahead_measured", "stream_buffer_bytes"],
    )
    latency, least = figures.realtime_rule()
    return rows.table(
        "realtime",
        "Real-time capability: latency and rate of new predictions, bins of future input a "
        "prediction depends on (as declared by the decoder, and as measured by perturbing "
        "future bins), and bytes a streaming implementation keeps, mean over the sessions. "
        f"Real-time means at most {latency:g} ms and at least {least:g} Hz",
        [
            *rows.names(),
            *rows.beside("Latency (ms)", "latency_ms", as_printed),
            *rows.beside("Rate (Hz)", "execution_rate_hz", rate),
            rows.column("declared", "Look-ahead (bins)", count, "lookahead_declared"),
            rows.column("measured", "Look-ahead (bins)", count, "lookahead_measured"),
            rows.column("Buffers (bytes)", "", count, "stream_buffer_bytes"),
            *rows.beside("Real-time", "realtime", yes, align="c"),
        ],
    )
