"""Simulated users in control of a cursor: throughput beside open-loop R2 and latency."""

from collections.abc import Sequence

import pandas as pd

from spikereach.evaluation.records import Loop
from spikereach.reporting import cells
from spikereach.reporting.cells import Rows, Systems, number
from spikereach.reporting.collect import KEY, ResultError
from spikereach.reporting.render import Table

ARM = "arm"
"""The system of direct control, which is no decoder."""
MEASURES = (
    *("success_rate", "time_to_target_s", "dial_in_s", "path_efficiency"),
    "throughput_bit_s",
)
OTHERS = ("centre_out", "silent", "seen")
"""Throughputs in other conditions: the other task, and on random targets other states of S1."""
AFTER = tuple(f"{measure}_recalibrated" for measure in ("gain", *MEASURES))
"""The measures, and the gain, of decoders trained further in the loop."""


def loop_frame(loops: Sequence[Loop]) -> pd.DataFrame:
    """A row per system, session and seed: the measures on random targets with a moving arm, the
    throughputs of `OTHERS` as ``throughput_CONDITION``, and those measures after recalibration as
    ``MEASURE_recalibrated``."""
    rows = []
    for each in loops:
        row = {key: getattr(each, key) for key in (*KEY, "gain", "lookahead_ms")}
        for found in each.controls:
            if found.added_delay_ms:
                continue
            condition = "centre_out" if found.task == "centre-out" else found.feedback
            if condition == "moving":
                row |= {measure: getattr(found, measure) for measure in MEASURES}
            else:
                row[f"throughput_{condition}"] = found.throughput_bit_s
        if each.recalibrated is not None:
            measures = each.recalibrated.model_dump()
            row |= {key: measures[key.removesuffix("_recalibrated")] for key in AFTER}
        rows.append(row)
    columns = [*KEY, "gain", "lookahead_ms", *MEASURES]
    columns += [*(f"throughput_{each}" for each in OTHERS), *AFTER]
    return pd.DataFrame(rows, columns=columns).astype(
        dict.fromkeys(columns[3:], float)  # None, where no trial says it, as nan
    )


def closed_loop(frame: pd.DataFrame, loops: Sequence[Loop], systems: Systems) -> Table:
    """The user's measures, with direct control of the arm as the upper end.

    Args:
        frame: from `collect`.
        loops: of the same decoders, and of the arm.
        systems: rows, in order.
    Raises:
        ResultError: a decoder has metrics and no loop.
    """
    whole = loop_frame(loops)
    arms, decoders = whole[whole["system"] == ARM], whole[whole["system"] != ARM]
    merged = frame.merge(decoders, on=KEY, how="left", indicator=True)
    for each in merged[merged["_merge"] != "both"].itertuples():
        raise ResultError(f"{each.system}/{each.session}/{each.seed} has no loop.json: give it too")
    columns = list(decoders.columns[3:])
    rows = Rows(merged.drop(columns="_merge"), systems, further=["r2", "latency_ms", *columns])
    for row in rows.rows:
        row["source_published"] = None  # nothing published stands in this table
    nothing = dict.fromkeys(rows.rows[0])
    direct = {"system": "the arm itself", "sessions": len(arms)} | arms[columns].mean().to_dict()
    rows.rows.append(nothing | direct | {"gain": None, "lookahead_ms": None})
    trials = sorted({found.trials for each in loops for found in each.controls})
    each, share = number("{:.2f}"), number("{:.0%}")
    both = [("Success", share, "success_rate"), ("Path", share, "path_efficiency")]
    both += [("Bit/s", each, "throughput_bit_s"), ("Gain", each, "gain")]
    recalibrated = [
        rows.column(heading, measure, form, key + ending)
        for measure, form, key in both
        for heading, ending in (("before", ""), ("recalibrated", "_recalibrated"))
        if decoders["gain_recalibrated"].notna().any()
    ]
    return rows.table(
        "closed_loop",
        "Control of a cursor through decoders; users and brains are simulated "
        f"(docs/closed-loop.md). {', '.join(map(str, trials))} random targets of 15 mm, held for "
        "400 ms, given up after 6 s. Latency by the paper's rule. Medians over successful trials: "
        "time to the end of the dwell; from the first contact to the last entry (dial-in); the "
        "straight way to the last entry over the cursor's. Throughput: log2(1 + distance / width) "
        "of successful trials over the time of all; beside it that of centre-out reaches and, for "
        "decoders that read S1, with S1 silent or driven by the cursor seen, a mean over the "
        "sessions that have S1 only. The arm itself: direct control"
        + ". Recalibrated: the same random targets before and after further training on others, "
        "where the velocity wanted is taken to be the cursor's, turned to the target (Gilja et al. "
        "2012)" * bool(recalibrated),
        [
            rows.names()[0],
            rows.column("Open-loop R²", "", cells.r2, "r2"),
            rows.column("Latency (ms)", "", number("{:g}"), "latency_ms"),
            rows.column("success", "Random targets", share, "success_rate"),
            rows.column("time (s)", "Random targets", each, "time_to_target_s"),
            rows.column("dial-in (s)", "Random targets", each, "dial_in_s"),
            rows.column("path", "Random targets", share, "path_efficiency"),
            rows.column("random", "Throughput (bit/s)", each, "throughput_bit_s"),
            rows.column("centre-out", "Throughput (bit/s)", each, "throughput_centre_out"),
            rows.column("S1 silent", "Throughput (bit/s)", each, "throughput_silent"),
            rows.column("S1 sees", "Throughput (bit/s)", each, "throughput_seen"),
            rows.column("Gain", "", each, "gain"),
            *recalibrated,
        ],
    )
