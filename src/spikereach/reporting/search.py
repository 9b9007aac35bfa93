"""The outcome of a hyperparameter search: its best trial as a system, and what mattered."""

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


def importance(trials: Trials, search: Search) -> dict[str, float]:
    """Share of each parameter in the variation of R2 among the completed trials.

    PED-ANOVA (Watanabe et al. 2023): how far the values of the better trials part from those of
    all. Shares add up to 1; all are 0 where fewer than two trials were completed or none differ.

    Args:
        trials: all of the search.
        search: with the space they were drawn from.
    """
    import optuna  # slow

    complete = [trial for trial in trials if trial["state"] == "complete"]
    if len(complete) < 2:
        return dict.fromkeys(search.space, 0.0)
    whole = optuna.distributions.IntDistribution
    space = {n: whole(each.low, each.high, step=each.step) for n, each in search.space.items()}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(
            value=trial["r2"],
            params=trial["parameters"],
            distributions=space,
        )
        for trial in complete
    )
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    return {name: float(found.get(name, 0.0)) for name in search.space}
