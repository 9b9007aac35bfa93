"""The papers' printed figures, as they stand in ``figures.json`` beside this file.

A system's figure is looked up in the tables in this order, the first that prints it wins:
the co-optimisation track and the R2 track of Krausse et al. 2025, their real-time table,
table III of Vasilache et al. 2024, the cost table of Liu et al. 2024, the NeuroBench
leaderboard. The leaderboard rounds AEGRU's footprint and calls its multiply-accumulates dense
operations: means over the sessions that its authors publish stand for them. Systems that nobody
trains here stand in a part of their own (``cited``). Everything is a mean over the six evaluation
sessions unless it is asked for per session. What no paper prints is None.

Figures per session, and of some systems per seed, stand in code that the authors published
(`per_session_origin`). How a paper's ± was formed is told by `std_over`.
"""

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from statistics import mean
from typing import Any, Literal


@dataclass(frozen=True)
class Figures:
    """What the papers print about one system; None where they do not.

    Footprints are bytes as NeuroBench counts them; dense operations, MACs and ACs are per
    4 ms step; what deviations are over, `std_over` says.
    """

    system: str
    source: str | None = None
    spiking: bool | None = None
    r2: float | None = None
    r2_std: float | None = None
    footprint: int | None = None
    connection_sparsity: float | None = None
    activation_sparsity: float | None = None
    dense: float | None = None
    macs: float | None = None
    macs_std: float | None = None
    acs: float | None = None
    acs_std: float | None = None
    realtime: bool | None = None
    latency_ms: float | None = None
    execution_rate_hz: float | None = None
    receptive_field: int | None = None
    pretraining: str | None = None
    """103 sessions; monkey: the other sessions of the evaluated one's; or none."""


#: metrics published per session by :func:`per_session`
PER_SESSION = (
    "footprint",
    "footprint_parameters_only",
    "connection_sparsity",
    "activation_sparsity",
    "dense",
    "macs",
    "acs",
    "r2",
)

#: what the printed deviations are over that are explained: those of Liu et al. and AEGRU follow
#: from the published seeds, and their authors' sheet has AEGRU's (0.0543, divisor n - 1); the
#: training code of Vasilache et al. holds those of GRU-t2 per session and their means
_STD_OVER: dict[tuple[str, str], Literal["seeds", "sessions", "runs"]] = {
    ("tinyRSNN", "r2"): "seeds",
    ("bigRSNN", "r2"): "seeds",
    ("GRU-t2", "r2"): "sessions",
    ("GRU-t2", "macs"): "sessions",
    ("GRU-t2", "acs"): "sessions",
    ("AEGRU", "r2"): "runs",
}

_NEUROBENCH = "one run, comments in examples/primate_reaching of github NeuroBench/neurobench"
_LIU = "five seeds, results folder of github fmi-basel/neural-decoding-RSNN"
_CHALLENGE = "github CityU-BRAINSys-Lab/2024BioCASGrandChallenge"
_ORIGINS = {
    **dict.fromkeys(("SNN2", "SNN3", "ANN2"), _NEUROBENCH),
    **dict.fromkeys(("tinyRSNN", "bigRSNN"), _LIU),
    "GRU-t2": "mean and deviation over seeds 42 to 46, comments in Primate Whisperer/"
    f"neural_decoding_challenge/train.py of {_CHALLENGE}",
    "AEGRU": "seeds {aegru_seeds}, comments in BioCircuitBreakers/"
    f"benchmark_run.py of {_CHALLENGE}",
}


@cache
def load() -> dict[str, Any]:
    """The whole of ``figures.json``; treat it as read-only."""
    return json.loads(resources.files(__package__).joinpath("figures.json").read_bytes())


def sessions() -> dict[str, str]:
    """The six evaluation sessions: short name (I1 .. L3) to Zenodo session name."""
    return dict(load()["sessions"])


@cache
def _merged() -> dict[str, Figures]:
    data = load()
    known = {field.name for field in fields(Figures)}
    rows = [
        *data["table_coopt_track"],
        *data["table_r2_track"],
        *data["table_realtime"],
        *({"source": "vasilache2024", **row} for row in data["table_vasilache2024"]),
        *(
            {"system": name, "source": "liu2024", "acs": row.get("acs_paper"), **row}
            for name, row in data["liu2024_cost_mean"].items()
        ),
        *({"system": name, **row, **_means(name)} for name, row in data["leaderboard"].items()),
        *({"system": s, "receptive_field": n} for s, n in data["receptive_field_steps"].items()),
        *({"system": name, "latency_ms": latency} for name, latency in data["latency_ms"].items()),
        *data["cited"]["systems"],
    ]
    merged: dict[str, dict[str, Any]] = {}
    for row in rows:
        printed = {key: row[key] for key in row.keys() & known if row[key] is not None}
        merged[row["system"]] = printed | merged.get(row["system"], {})
    for values in merged.values():
        values.setdefault("pretraining", data["cited"]["pretraining"].get(values["source"]))
    return {name: Figures(**values) for name, values in merged.items()}


def citation(source: str) -> str:
    """A source as captions name it."""
    if text := load()["cited"]["sources"].get(source):
        return text.partition(":")[0]
    return f"{source[:-4].title()} et al. {source[-4:]}"


def untrained() -> tuple[str, ...]:
    """Names of the systems with published figures that are cited only: no entry trains them."""
    return tuple(row["system"] for row in load()["cited"]["systems"])


def systems() -> tuple[str, ...]:
    """Names of all systems with published figures."""
    return tuple(_merged())


def system(name: str) -> Figures:
    """The published figures of one system; a KeyError with those known if no paper prints it."""
    if name not in _merged():
        known = ", ".join(sorted(_merged()))
        raise KeyError(f"no published figures of {name!r}; known: {known}")
    return _merged()[name]


def per_session(name: str, metric: str) -> dict[str, tuple[float, ...]]:
    """One metric of one system by session; one value, or one per seed.

    AEGRU's are in the order of its seeds (`per_session_origin`). The order of those of Liu et al.
    is not that of the seeds' numbers: compare them as a set.

    Returns:
        session name -> values; empty where the system or metric is not published so.
    Raises:
        KeyError: for an unknown metric.
    """
    if metric not in PER_SESSION:
        raise KeyError(f"unknown metric {metric!r}; known: {', '.join(PER_SESSION)}")
    entry = load()["per_session"].get(name, {})
    if metric in entry:  # one value per session
        return {session: (value,) for session, value in entry[metric].items()}
    found = {key: entry[key].get(metric) for key in sessions().values() if key in entry}
    return {
        session: tuple(values) if isinstance(values, list) else (values,)  # one for all seeds
        for session, values in found.items()
        if values is not None
    }


def _means(name: str) -> dict[str, float]:
    """Every metric that is published per session, as the mean over seeds and sessions."""
    known = {metric: per_session(name, metric).values() for metric in PER_SESSION}
    return {metric: mean(map(mean, values)) for metric, values in known.items() if values}


def per_session_origin(name: str) -> str:
    """Where the figures per session of a system stand, and of which seeds they are.

    Raises:
        KeyError: where none are published.
    """
    aegru_seeds = ", ".join(map(str, load()["aegru_seeds"]["seeds"]))
    return _ORIGINS[name].format(aegru_seeds=aegru_seeds)


def per_session_std(name: str) -> dict[str, float]:
    """Printed deviation of R2 over seeds, by session; empty where not printed.

    Where the seeds themselves are published, use :func:`per_session` instead.
    """
    return dict(load()["per_session"].get(name, {}).get("r2_std", {}))


def r2_by_seed(name: str) -> tuple[float, ...]:
    """R2 of each published seed, as the mean over the six sessions; empty where not published.

    Of a system with one value per session it is a single mean. The n-th values of all sessions
    are taken for one seed's; the printed deviations of Liu et al. follow from that.
    """
    return tuple(map(mean, zip(*per_session(name, "r2").values(), strict=True)))


def std_over(name: str, metric: str) -> Literal["seeds", "sessions", "runs"] | None:
    """What the printed deviation of a metric (r2, macs, acs) of a system is over.

    Returns:
        ``seeds``: over seeds of the mean over the sessions, as ours are; ``sessions``: over the
        seeds of each session, then the mean over the sessions; ``runs``: over all seeds and
        sessions together; None: unknown, or there is no deviation.
    """
    return _STD_OVER.get((name, metric))


def cortex_ablation() -> dict[str, dict[str, tuple[float, float]]]:
    """Figure 5 of Krausse et al. 2025: session -> input -> (R2, its deviation) of BMnet."""
    figure = load()["figure_cortex_ablation"]
    return {
        session: {name: tuple(value) for name, value in bars.items()}
        for session, bars in figure.items()
        if session != "about"
    }


def spikes_per_step() -> dict[str, float]:
    """Mean number of spikes of all channels per 4 ms step, by session: what SNN2's published
    accumulates say of the recordings."""
    found = load()["mean_spikes_per_4ms_bin"]
    return {session: found[session] for session in sessions().values()}


def realtime_rule() -> tuple[float, float]:
    """Largest latency in ms and smallest execution rate in Hz of a real-time decoder."""
    rule = load()["realtime_rule"]
    return rule["max_latency_ms"], rule["min_execution_rate_hz"]
