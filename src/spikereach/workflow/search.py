"""Hyperparameter search: trials of one Optuna study in a journal file that all of them share.

Every trial is a job of its own. What trial n tries and when it is pruned follow from the seed, n
and the outcomes of the trials up to ``n - parallel``, which the workflow runs before it. So
trials run side by side, and still a search is repeatable whatever their order in time. The
journal takes a trial when it is over: one that is killed leaves nothing there, and its training
goes on from its resume file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from spikereach.config import Search, System
from spikereach.data.binning import BinnedSession
from spikereach.evaluation.describe import describe
from spikereach.training.errors import ExplosionError
from spikereach.training.fit import fit

GRACE_S = 30
"""Seconds after which the journal's lock counts as left behind by a killed job."""


class SearchError(RuntimeError):
    """The search cannot go on: names the file and the remedy."""


def run_trial(
    search: Search,
    system: System,
    session: BinnedSession,
    *,
    number: int,
    journal: Path,
    study: str,
    **options: Any,
) -> dict[str, Any]:
    """Run a trial, or read it from the journal where it is over.

    A trial trains from scratch with the system's fine-tuning recipe. Its objective is the best
    validation R2; one that lags behind the median of the earlier trials is pruned, one whose
    training explodes fails. The test part is not touched.

    Args:
        search: settings.
        system: that is varied.
        session: on which it is trained.
        number: of the trial, from 0.
        journal: the file that all trials share.
        study: name of the study in it; another one for other data, settings or code.
        options: resume, device, progress and events, as for `fit`.
    Returns:
        number, state ("complete", "pruned" or "failed"), parameters, r2 (validation; None where
        failed), epochs, deployment_bytes, latency_ms, realtime and message (of a failure).
    Raises:
        SearchError: a damaged journal, or one without the earlier trials.
        ConfigError: values that the architecture refuses.
        TrainingError: as `fit`.
    """
    shared = open_study(journal, study)
    known = {trial.user_attrs["number"]: trial for trial in shared.get_trials(deepcopy=False)}
    if number in known:  # killed between the last two lines of this function and the job's end
        return outcome(known[number])
    earlier = range(number - search.parallel + 1)
    missing = [str(n) for n in earlier if n not in known]
    if missing:
        raise SearchError(
            f"{journal} lacks the earlier trials {', '.join(missing)}: delete the folder "
            f"{journal.parent} and search anew"
        )

    seed, sampler_seed = np.random.SeedSequence([search.seed, number]).generate_state(2).tolist()
    own = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=sampler_seed, n_startup_trials=search.startup_trials
        ),
        pruner=optuna.pruners.MedianPruner(search.startup_trials, search.warmup_epochs),
    )
    own.add_trials([known[n] for n in earlier])
    distributions = {
        name: IntDistribution(each.low, each.high, step=each.step)
        for name, each in search.space.items()
    }
    trial = own.ask(distributions)
    tried = search.configured(system, trial.params)
    about = describe(tried, len(session.channels(system.areas)))
    scores: list[float] = []

    def watch(rows: Sequence[Mapping[str, float]]) -> None:
        for row in rows[len(scores) :]:
            trial.report(row["val_r2"], int(row["epoch"]))
            scores.append(row["val_r2"])
        if rows and trial.should_prune():
            raise optuna.TrialPruned

    state, message = TrialState.COMPLETE, None
    try:
        _, history = fit(
            tried,
            [session],
            system_name=f"{search.system}, trial {number},",
            dataset=session.name,
            stage="finetune",
            seed=seed,
            watch=watch,
            **options,
        )
        scores = history["val_r2"].tolist()
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except ExplosionError as error:
        state, message = TrialState.FAIL, str(error)
    finished = optuna.trial.create_trial(
        state=state,
        value=None if state == TrialState.FAIL else max(scores),
        params=trial.params,
        distributions=distributions,
        intermediate_values=dict(enumerate(scores, start=1)),
        user_attrs={
            "number": number,
            "deployment_bytes": about["deployment"]["total_bytes"],
            "latency_ms": about["latency_ms"],
            "realtime": about["realtime"],
            "message": message,
        },
    )
    shared.add_trial(finished)
    return outcome(finished)


def outcome(trial: FrozenTrial) -> dict[str, Any]:
    """A finished trial as JSON; see :func:`run_trial`."""
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return {
        "message": None,  # the journal drops what is null
        **trial.user_attrs,
        "state": states[trial.state.name],
        "parameters": trial.params,
        "r2": trial.value,
        "epochs": len(trial.intermediate_values),
    }


def open_study(journal: Path, name: str) -> optuna.Study:
    """The study of this name in a journal file; either is made where it is not there.

    Raises:
        SearchError: the file is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = JournalFileOpenLock(str(journal), grace_period=GRACE_S)
    journal.parent.mkdir(parents=True, exist_ok=True)
    _mend(journal, lock)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        return optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
    except (ValueError, KeyError) as error:
        raise SearchError(
            f"{journal} is damaged ({error}): delete the folder {journal.parent} and search anew"
        ) from error


def _mend(journal: Path, lock: JournalFileOpenLock) -> None:
    """Cut off a last line that a full disk or a power failure left unfinished."""
    lock.acquire()
    try:
        content = journal.read_bytes() if journal.exists() else b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with journal.open("r+b") as file:
                file.truncate(whole)
    finally:
        lock.release()
