"""What stands under tables, so that nobody has to look elsewhere for what their numbers mean.

Each function gives one paragraph about the rows that are there, and an empty text where none of
them needs it. Numbers are those of the rows, the configuration and the published figures.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import pandas as pd

from spikereach.data.matfile import STEP_S
from spikereach.published import figures
from spikereach.reporting.cells import Systems, as_printed, count, r2, spread
from spikereach.reporting.collect import formats

_OVER = {
    "seeds": "over seeds, of the mean over the sessions, as ours",
    "sessions": "the mean of the six sessions' deviations over seeds",
    "runs": "over all 30 runs, five seeds on six sessions",
    None: "unknown",
}

Row = Mapping[str, Any]
"""One of the rows of `cells.Rows`."""


def realtime(rows: Sequence[Row], systems: Systems) -> str:
    """The paper's rule, and the systems that it judges otherwise than their look-ahead would."""
    most, least = figures.realtime_rule()
    hybrids = [row["system"] for row in rows if systems[row["system"]].architecture == "hybrid"]
    half = (
        f"; of {_listed(hybrids)} the paper takes half of that span and a step" if hybrids else ""
    )
    sentences = [
        f"Real-time means, by the rule of Krausse et al. 2025, a latency of at most {most:g} ms "
        f"and at least {least:g} predictions per second. This latency is the span of all data that "
        f"a prediction needs, so that history counts{half}."
    ]
    remembering = [
        f"{row['system']} ({row['latency_ms']:g} ms)"
        for row in rows
        if row["latency_ms"] > most and not row["lookahead_declared"]
    ]
    if remembering:
        are, they = _agreeing(remembering)
        sentences.append(
            f"{_listed(remembering)} {are} not real-time although {they} at no future."
        )
    ahead: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        if row["realtime"] and row["lookahead_declared"]:
            times = row["latency_ms"], row["lookahead_declared"] * STEP_S * 1000
            ahead.setdefault(times, []).append(row["system"])
    for (latency, future), names in ahead.items():
        are, they = _agreeing(names)
        keypoints = {*names} <= {*hybrids}
        why = ": the rule leaves out the wait for the next keypoint" if keypoints else ""
        sentences.append(
            f"{_listed(names)} ({latency:g} ms) {are} real-time although {they} {future:g} ms into "
            f"the future{why}."
        )
    return " ".join(sentences)


def footprints(rows: Sequence[Row], frame: pd.DataFrame, systems: Systems) -> str:
    """Why NeuroBench's footprint of fixed-point weights is larger than of those in half precision.

    Args:
        rows: those of the table.
        frame: from `collect`.
        systems: their entries of the configuration.
    """
    size = {row["system"]: row["footprint"] for row in rows}
    stored = {name: formats(frame[frame["system"] == name])[0] for name in size}
    sentences = []
    for name, kind in stored.items():
        if isinstance(kind, str):
            continue
        base = systems[name].base
        against = ""
        if stored.get(base) == "float16":
            against = f": {size[name] / size[base]:.2g} times the bytes of {base} in half precision"
        sentences.append(
            f"The {1 + sum(kind)}-bit weights of {name} lie in float32, at 4 bytes each, as "
            f"PyTorch has no such type{against}."
        )
    about = "NeuroBench's footprint counts numbers as they lie in memory."
    return " ".join([about, *sentences]) if sentences else ""


def accumulates(rows: Sequence[Row], systems: Systems) -> str:
    """Why the ACs of a hybrid net are many times the published ones (docs/assumptions.md)."""
    spikes = mean(figures.spikes_per_step().values())
    sentences = []
    for row in rows:
        system, printed = systems[row["system"]], row["acs_published"]
        if system.architecture != "hybrid" or not printed or row["acs"] < 2 * printed:
            continue
        channels, taps = system.sizes["conv_channels"], system.sizes["kernel"]
        sentences.append(
            f"The ACs of {row['system']} are {row['acs'] / printed:.2g} times the published ones. "
            "NeuroBench counts every non-zero weight that a spike meets, up to "
            f"{channels} channels × {taps} taps in the first convolution alone: some "
            f"{count(spikes * channels * taps)} at the {spikes:.1f} spikes per step of the six "
            f"recordings. The published {printed:g} is near {spikes:.1f} × {channels}, as if a "
            "spike met one tap."
        )
    return " ".join(sentences)


def deviations(rows: Sequence[Row], metrics: Mapping[str, str]) -> str:
    """How each published ± was formed; empty where the rows have none.

    Args:
        rows: those of the table.
        metrics: key of `Figures` -> its name in the table.
    """
    found: dict[str | None, dict[str, list[str]]] = {way: {} for way in _OVER}
    for row in rows:
        printed = [key for key in metrics if row[f"{key}_std_published"] is not None]
        ways = {key: figures.std_over(row["system_published"], key) for key in printed}
        for way in set(ways.values()):
            of = _listed([metrics[key] for key in printed if ways[key] == way])
            found[way].setdefault(of, []).append(row["system"])
    parts = [
        f"{'; '.join(f'{of} of {_listed(names)}' for of, names in which.items())}: {_OVER[way]}."
        for way, which in found.items()
        if which
    ]
    return " ".join(["How the published ± were formed.", *parts, *_means(rows)]) if parts else ""


def sessions(rows: Sequence[Row]) -> str:
    """Where the published figures per session are from; empty without rows.

    Args:
        rows: those of the table with such figures.
    """
    if not rows:
        return ""
    by_origin: dict[str, list[str]] = {}
    for row in rows:
        origin = figures.per_session_origin(row["system_published"])
        by_origin.setdefault(origin, []).append(row["system"])
    parts = [f"{_listed(names)}: {origin}." for origin, names in by_origin.items()]
    seeded = [row["system"] for row in rows if len(figures.r2_by_seed(row["system_published"])) > 1]
    if seeded:
        parts.append(f"± of {_listed(seeded)}: over these seeds, divisor n.")
    printed = [row["system"] for row in rows if figures.per_session_std(row["system_published"])]
    if printed:
        parts.append(f"± of {_listed(printed)}: as printed; of the mean, {_OVER['sessions']}.")
    return " ".join(["Where published sessions are from.", *parts, *_means(rows)])


def _means(rows: Sequence[Row]) -> list[str]:
    """What the seeds say of each R2 that is printed with a deviation over all runs."""
    sentences = []
    for row in rows:
        if figures.std_over(row["system_published"], "r2") == "runs":
            seeds = pd.Series(figures.r2_by_seed(row["system_published"]))
            printed = as_printed(row["r2_published"], row["r2_std_published"])
            sentences.append(
                f"The published seeds of {row['system']} have R² {r2(*spread(seeds))} over seeds "
                f"and {r2(seeds.max())} at best; the paper prints {printed}."
            )
    return sentences


def _agreeing(names: Sequence[str]) -> tuple[str, str]:
    return ("is", "it looks") if len(names) == 1 else ("are", "they look")


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
