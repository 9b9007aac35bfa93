"""Hyperparameter search: trials of one Optuna study in a journal file that all of them share.

Every trial is a job of its own. What trial n tries and when it is pruned follow from the seed, n
and the outcomes of the trials up to ``n - parallel``, which the workflow runs before it. So
trials run side by side, and still a search is repeatable whatever their order in time. The
journal takes a trial when it is over: one that is killed leaves nothing there, and its training
goes on from its resume file.

Two studies in memory are made of the earlier trials. One draws values, for one objective or for
several. The other judges a training by its R2 alone, because Optuna stops none early where there
are several objectives; in it are only those trials that cost no more than this one. Else small
decoders, which a search with costs is for, would all be stopped for lagging behind large ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from spikereach.compression import compress
from spikereach.config import OBJECTIVES, Search, System
from spikereach.data.binning import BinnedSession
from spikereach.evaluation import metrics
from spikereach.evaluation.describe import describe
from spikereach.evaluation.energy import energy_nj
from spikereach.evaluation.evaluate import deployed, input_spikes
from spikereach.evaluation.records import Format
from spikereach.models.checkpoint import Checkpoint
from spikereach.training.errors import ExplosionError
from spikereach.training.fit import fit

GRACE_S = 30
"""Seconds after which the journal's lock counts as left behind by a killed job."""
EXPECTED = {"bytes": "deployment_bytes", "energy": "dense", "latency": "latency_ms"}
"""What is known before a training of each cost: of energy, the operations if none was spared."""


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
    resume: Path,
    **options: Any,
) -> dict[str, Any]:
    """Run a trial, or read it from the journal where it is over.

    A trial trains from scratch with the system's fine-tuning recipe, and compresses what came out
    by the system's steps. R2 and operations are those of that decoder on the validation part, as
    one stream. A trial is pruned, and not compressed, where the R2 of its training lies below the
    median of the earlier trials at that epoch, of those that cost no more; it has what it reached,
    in the formats of the compression. It fails where a training explodes. The test part is not
    touched.

    Args:
        search: settings.
        system: that is varied.
        session: on which it is trained.
        number: of the trial, from 0.
        journal: the file that all trials share.
        study: name of the study in it; another one for other data, settings or code.
        resume: folder for the state of its trainings; the caller removes it.
        options: device, progress and events, as for `fit`.
    Returns:
        number, state ("complete", "pruned" or "failed"), parameters, r2 (validation; None where
        failed), epochs (of the fine-tuning), deployment_bytes, macs, acs and energy_nj (per step of
        the validation part; None where failed), dense (operations per step), latency_ms, realtime
        and message (of a failure).
    Raises:
        SearchError: a damaged journal, or one without the earlier trials.
        ConfigError: values that the architecture refuses.
        TrainingError: as `fit`.
        EvaluationError: operations that cannot be counted.
    """
    shared = open_study(journal, study)
    known = {trial.user_attrs["number"]: trial for trial in shared.get_trials(deepcopy=False)}
    if number in known:  # killed between the last two lines of this function and the job's end
        return outcome(known[number])
    numbers = range(number - search.parallel + 1)
    missing = [str(n) for n in numbers if n not in known]
    if missing:
        raise SearchError(
            f"{journal} lacks the earlier trials {', '.join(missing)}: delete the folder "
            f"{journal.parent} and search anew"
        )
    earlier = [known[n] for n in numbers]

    seed, sampler_seed = np.random.SeedSequence([search.seed, number]).generate_state(2).tolist()
    drawing = optuna.create_study(
        directions=["maximize" if each == "r2" else "minimize" for each in search.objectives],
        sampler=optuna.samplers.TPESampler(
            seed=sampler_seed, n_startup_trials=search.startup_trials
        ),
    )
    drawing.add_trials([_valued(trial, search) for trial in earlier])
    distributions = {name: each.distribution for name, each in search.space.items()}
    parameters = drawing.ask(distributions).params
    tried = search.configured(system, parameters)
    about = describe(tried, len(session.channels(system.areas)))
    memory = about["deployment"]
    expected = {
        "deployment_bytes": memory["total_bytes"],
        "latency_ms": about["latency_ms"],
        "dense": about["dense"],
    }

    judging = optuna.create_study(
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(search.startup_trials, search.warmup_epochs),
    )
    costs = [EXPECTED[each] for each in search.objectives if each != "r2"]
    judging.add_trials(
        [t for t in earlier if all(t.user_attrs[key] <= expected[key] for key in costs)]
    )
    judged = judging.ask()
    scores: list[float] = []
    state, message = TrialState.COMPLETE, None
    measured = dict.fromkeys(("r2", "macs", "acs", "energy_nj"))

    def lags(rows: Sequence[Mapping[str, float]]) -> bool:
        nonlocal state
        for row in rows[len(scores) :]:
            judged.report(row["val_r2"], int(row["epoch"]))
            scores.append(row["val_r2"])
        if rows and judged.should_prune():
            state = TrialState.PRUNED
        return state == TrialState.PRUNED

    try:
        common = {"system_name": f"{search.system}, trial {number},", "seed": seed, **options}
        checkpoint, history = fit(
            tried,
            [session],
            dataset=session.name,
            stage="finetune",
            resume=resume / "training.safetensors",
            watch=lags,
            **common,
        )
        scores = history["val_r2"].tolist()
        if state == TrialState.COMPLETE:
            checkpoint, _ = compress(checkpoint, [session], tried, resume=resume, **common)
    except ExplosionError as error:
        state, message = TrialState.FAIL, str(error)
    else:
        measured = _measured(checkpoint, session, memory["weight_format"], memory["buffer_format"])
    finished = optuna.trial.create_trial(
        state=state,
        value=measured.pop("r2"),
        params=parameters,
        distributions=distributions,
        intermediate_values=dict(enumerate(scores, start=1)),
        user_attrs={
            "number": number,
            **expected,
            **measured,
            "realtime": about["realtime"],
            "message": message,
        },
    )
    shared.add_trial(finished)
    return outcome(finished)


def _valued(trial: FrozenTrial, search: Search) -> FrozenTrial:
    """An earlier trial with its value in each objective: of a pruned one, all that it reached."""
    failed = trial.state == TrialState.FAIL
    found = outcome(trial)
    return optuna.trial.create_trial(
        state=TrialState.FAIL if failed else TrialState.COMPLETE,
        values=None if failed else [found[OBJECTIVES[each]] for each in search.objectives],
        params=trial.params,
        distributions=trial.distributions,
    )


def _measured(
    checkpoint: Checkpoint, session: BinnedSession, weights: Format, buffers: Format
) -> dict[str, float]:
    """R2 on the validation part, effective operations and their energy per step of it."""
    part = session.split(checkpoint.system.training.split).val
    part = slice(part.start, part.stop)
    spikes = input_spikes(checkpoint, session)[part]
    counted, _ = metrics.measure(deployed(checkpoint), spikes, session.velocity[part])
    macs, acs = counted["effective_macs"], counted["effective_acs"]
    energy = energy_nj(macs, acs, weights, buffers)
    return {"r2": counted["r2"], "macs": macs, "acs": acs, "energy_nj": energy}


def outcome(trial: FrozenTrial) -> dict[str, Any]:
    """A finished trial as JSON; see :func:`run_trial`."""
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return {
        # the journal drops what is null
        **dict.fromkeys(("macs", "acs", "energy_nj", "message")),
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
