"""The outcome of a hyperparameter search: its best trials, and what mattered."""

from collections.abc import Mapping, Sequence
from typing import Any

from spikereach.config import OBJECTIVES, Search
from spikereach.reporting.collect import ResultError
from spikereach.reporting.dominance import non_dominated

Trials = Sequence[Mapping[str, Any]]
"""As `spikereach.workflow.search.run_trial` gives them."""


def best(trials: Trials) -> Mapping[str, Any]:
    """The completed trial of the highest validation R2; of equal ones the smallest, then first.

    Raises:
        ResultError: when no trial was completed.
    """
    return max(_complete(trials), key=lambda t: (t["r2"], -t["deployment_bytes"], -t["number"]))


def frontier(trials: Trials, search: Search) -> list[Mapping[str, Any]]:
    """The completed trials that no other one surpasses in all objectives, the smallest first.

    Raises:
        ResultError: when no trial was completed.
    """
    complete = _complete(trials)
    costs = [
        [-t["r2"] if each == "r2" else t[OBJECTIVES[each]] for each in search.objectives]
        for t in complete
    ]
    found = [t for t, kept in zip(complete, non_dominated(costs), strict=True) if kept]
    return sorted(found, key=lambda t: (t["deployment_bytes"], t["number"]))


def _complete(trials: Trials) -> list[Mapping[str, Any]]:
    complete = [trial for trial in trials if trial["state"] == "complete"]
    if not complete:
        messages = list(dict.fromkeys(t["message"] for t in trials if t["message"]))
        raise ResultError("no trial was completed" + "".join(f"; {m}" for m in messages[:1]))
    return complete


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
    space = {name: each.distribution for name, each in search.space.items()}
    study = optuna.create_study(direction="maximize")
    for each in complete:
        drawn = {"params": each["parameters"], "distributions": space}
        study.add_trial(optuna.trial.create_trial(value=each["r2"], **drawn))
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    return {name: float(found.get(name, 0.0)) for name in search.space}
