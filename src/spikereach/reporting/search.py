"""The outcome of a hyperparameter search: its best trial as a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spikereach.config import Search, System
from spikereach.reporting.collect import ResultError

Trials = Sequence[Mapping[str, Any]]
"""As `spikereach.workflow.search.run_trial` gives them."""


def best(trials: Trials) -> Mapping[str, Any]:
    """The completed trial of the highest validation R2; of equal ones the smallest, then first.

    Raises:
        ResultError: when no trial was completed.
    """
    complete = [trial for trial in trials if trial["state"] == "complete"]
    if not complete:
        messages = list(dict.fromkeys(t["message"] for t in trials if t["message"]))
        raise ResultError("no trial was completed" + "".join(f"; {m}" for m in messages[:1]))
    return max(complete, key=lambda t: (t["r2"], -t["deployment_bytes"], -t["number"]))


def overlay(trials: Trials, search: Search, system: System) -> dict[str, Any]:
    """A configuration to lay over another one: the best trial as a system of its own.

    It keeps the recipe of the searched system, pretraining and compression included.
    """
    found = search.configured(system, best(trials)["parameters"])
    entry = found.model_dump(mode="json", exclude_defaults=True, exclude={"published"})
    return {"systems": {f"{search.system}-best": entry}}


def about(trial: Mapping[str, Any]) -> str:
    """The best trial in comment lines above its configuration."""
    verdict = "real-time" if trial["realtime"] else "not real-time"
    return (
        f"# Trial {trial['number']} of the search: validation R2 {trial['r2']:.3f}, "
        f"{trial['deployment_bytes']:,} bytes deployed in float32,\n"
        f"# latency {trial['latency_ms']:g} ms ({verdict}). Lay it over the configuration of the "
        "search, with --configfile.\n"
    )
