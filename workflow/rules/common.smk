"""The validated configuration, and the helpers that rules share."""

import json
import sys
from dataclasses import asdict
from functools import cache
from itertools import product
from pathlib import Path
from typing import get_args

from snakemake.exceptions import WorkflowError
from snakemake.iocontainers import Wildcards

from spikereach.workflow import demand, gpus
from spikereach.config import ConfigError, System, Table, validate
from spikereach.workflow.job import ERRORS
from spikereach.models.architectures import locate
from spikereach.workflow.code import code_digest
from spikereach.published import weights
from spikereach.workflow.runfolder import RunFolder, RunFolderError
from spikereach.data.sessions import evaluation_session, find

# ---- Configuration ----------------------------------------------------------------------

run_folder = RunFolder()
try:
    if workflow.is_main_process:
        run_folder.claim()
    run = validate(config)
    if run.source == "local":
        # Relative to the repository, where snakemake is called, and not to --directory.
        config["folder"] = str(Path(workflow.basedir, run.folder))
        run = validate(config)
    if run.weights_folder is not None:
        config["weights_folder"] = str(Path(workflow.basedir, run.weights_folder))
        run = validate(config)
    for monkey, names in run.pretrain_sessions.items():
        for name in names:
            if find(name, run).monkey != monkey:
                raise ConfigError(
                    f"pretrain_sessions.{monkey}: {name} is a session of {find(name, run).monkey}"
                )
    for name in run.sessions:
        find(name, run)
except (ConfigError, RunFolderError) as error:
    sys.exit(f"error: {error}")


wildcard_constraints:
    system=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    session=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    dataset=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    table=r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
    seed=r"\d+",


# ---- Lookups ----------------------------------------------------------------------------


def get_session(name):
    try:
        return find(name, run)
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


def get_system(name):
    if name not in run.systems:
        known = ", ".join(sorted(run.systems))
        raise WorkflowError(f"the configuration has no system {name!r}; known: {known}")
    return run.systems[name]


def get_architecture(name):
    """Of a system or of the system it starts from."""
    return get_system(get_system(name).base or name).architecture


def get_table(name):
    if name not in run.tables:
        known = ", ".join(sorted(run.tables))
        raise WorkflowError(f"the configuration has no table {name!r}; known: {known}")
    if not run.tables[name]:
        raise WorkflowError(
            f"tables.{name} lists no systems: name those that it shall have"
        )
    return run.tables[name]


def written_tables():
    """Tables that list systems; `imported` only where a session has published weights.

    In an order of their own: that of the configuration's keys changes with overlays.
    """
    return [
        name
        for name in get_args(Table)
        if run.tables.get(name)
        and (name != "imported" or any(map(evaluation_session, run.sessions)))
    ]


def tabled_systems():
    """All trained systems that stand in some table of results, each once.

    In the order of the longest table: that of the tables changes with overlays.
    """
    tables = sorted(run.tables.items(), key=lambda item: (-len(item[1]), item[0]))
    names = [
        name
        for table, systems in tables
        if table != "hyperparameters"
        for name in systems
        if run.systems[name].weights is None
    ]
    return list(dict.fromkeys(names))


def convolutional_systems():
    """Hybrid systems, the first of each layout of convolutions."""
    layouts = {}
    for name, system in run.systems.items():
        if system.architecture == "hybrid":
            layout = system.sizes["blocks"], system.sizes["kernel"]
            layouts.setdefault(layout, name)
    return list(layouts.values())


def is_monkey(dataset):
    return dataset in run.pretrain_sessions


def is_pretrained(system, session):
    """Whether a system starts from weights pretrained on all sessions of the monkey."""
    training = get_system(system).training
    return training.pretrain is not None and is_monkey(get_session(session).monkey)


@cache
def all_sessions():
    """Sessions the run evaluates, and those its systems are pretrained on."""
    monkeys = dict.fromkeys(get_session(name).monkey for name in run.sessions)
    pretraining = [
        name for monkey in monkeys for name in run.pretrain_sessions.get(monkey, ())
    ]
    return list(dict.fromkeys([*run.sessions, *pretraining]))


def fetch_priority(wildcards):
    """Sessions come in the configuration's order; no download holds up other work."""
    name = wildcards.session
    return -all_sessions().index(name) if name in all_sessions() else 0


# ---- Paths ------------------------------------------------------------------------------


def binned(session):
    return f"data/binned/{session}.h5"


def trained(system, dataset, seed):
    return f"results/train/{system}/{dataset}/seed{seed}/checkpoint.safetensors"


def local_file(wildcards):
    """Source local: the user's own file, else None."""
    if run.source != "local":
        return None
    path = Path(run.folder, f"{wildcards.session}.mat")
    if not path.exists():
        raise WorkflowError(
            f"{path}: no such file; put the session there or change `folder`"
        )
    return path


def fetch_input(wildcards):
    """One's own file, so that a new one there is fetched again."""
    path = local_file(wildcards)
    return {} if path is None else {"local": str(path)}


def training_input(wildcards):
    """Pretraining reads all sessions of a monkey; fine-tuning one, and the pretrained weights."""
    dataset = wildcards.dataset
    if is_monkey(dataset):
        return {"binned": [binned(name) for name in run.pretrain_sessions[dataset]]}
    inputs = {"binned": [binned(dataset)]}
    if is_pretrained(wildcards.system, dataset):
        monkey = get_session(dataset).monkey
        inputs["pretrained"] = trained(wildcards.system, monkey, wildcards.seed)
    return inputs


def final_checkpoint(wildcards):
    """The checkpoint that stands for a system: compressed where it has a compression."""
    system = get_system(wildcards.system)
    if system.weights:
        return "results/import/{system}/{session}/seed{seed}/checkpoint.safetensors"
    if system.compression:
        return "results/compress/{system}/{session}/seed{seed}/checkpoint.safetensors"
    return trained(system.base or wildcards.system, wildcards.session, wildcards.seed)


def published_weights(system):
    """The published files that a system with `weights` is evaluated with, by session and seed.

    A synthetic session takes those of the session it is calibrated to; sessions without
    published weights are left out.
    """
    try:
        sources = weights.of_system(get_system(system).published)
    except weights.WeightsError as error:
        raise WorkflowError(f"systems.{system}.published: {error}") from None
    return {
        (session, source.seed): source
        for session in run.sessions
        for source in sources
        if source.session == evaluation_session(session)
    }


def weights_source(wildcards):
    """The published file of one checkpoint."""
    if get_system(wildcards.system).weights is None:
        raise WorkflowError(f"systems.{wildcards.system} has no published `weights`")
    found = published_weights(wildcards.system)
    key = wildcards.session, int(wildcards.seed)
    if key not in found:
        known = ", ".join(f"{session} seed {seed}" for session, seed in found) or "none"
        raise WorkflowError(
            f"{wildcards.system}: no published weights for {key[0]} seed {key[1]}; on the "
            f"configured sessions there are: {known}"
        )
    return found[key]


def evaluated(systems):
    """(system, session, seed), all sessions and seeds; published weights have their own."""
    return [
        (system, session, seed)
        for system in systems
        for session, seed in (
            published_weights(system)
            if get_system(system).weights
            else product(run.sessions, run.seeds)
        )
    ]


def evaluations(systems, file="metrics.json"):
    """Result files of systems on all sessions with all seeds."""
    return [
        f"results/evaluate/{system}/{session}/seed{seed}/{file}"
        for system, session, seed in evaluated(systems)
    ]


def final_checkpoints():
    """The checkpoints of all systems in tables, figures and ablations, each once."""
    systems = [*tabled_systems(), *run.tables.get("imported", ())]
    wanted = evaluated([*systems, *run.trajectory.systems])
    for ablation in made_ablations():
        variants = ablation_systems(ablation).values()
        wanted += product(variants, ablation_sessions(ablation), run.seeds)
    keys = "system", "session", "seed"
    found = [Wildcards(fromdict=dict(zip(keys, each))) for each in wanted]
    return list(dict.fromkeys(final_checkpoint(each).format(**each) for each in found))


def weights_files():
    """The published files of all systems in the table of imported ones."""
    return [
        f"data/weights/{source.file}"
        for system in run.tables.get("imported", ())
        if get_system(system).weights
        for source in published_weights(system).values()
    ]


# ---- What a job depends on, as params: Snakemake reruns it when one of these changes -------


def canonical(value):
    """A JSON-like value or a model as text that does not depend on key order."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True)


@cache
def code(script, system=None):
    """Digest of the code a script runs, with what it imports by name only: the module of a
    system's architecture and, when it is compressed, those of its steps."""
    path = Path(workflow.basedir, "workflow", "scripts", f"{script}.py")
    try:
        modules = [] if system is None else [locate(get_architecture(system))[0]]
        if script == "compress_decoder":
            modules += [
                f"spikereach.compression.{step.kind}"
                for step in get_system(system).compression
            ]
        return code_digest(path, *modules)
    except (ConfigError, ModuleNotFoundError, SyntaxError) as error:
        raise WorkflowError(f"systems.{system}.architecture: {error}") from None


def origin_spec(wildcards):
    """Where a session comes from; how it is downloaded does not matter.

    With the stamp of one's own file: put back to an older one it has an older date, at which
    Snakemake alone would not look.
    """
    spec = {"source": run.source, "synthetic": None}
    if run.source == "synthetic":
        spec["synthetic"] = run.synthetic.model_dump()
    path = local_file(wildcards)
    if path is not None:
        status = path.stat()
        spec["stamp"] = [status.st_size, status.st_mtime_ns]
    return canonical(spec)


def training_spec(wildcards):
    """What the training of a system on a dataset depends on."""
    system = get_system(wildcards.system)
    spec = system.model_dump(mode="json", exclude={"compression", "published"})
    if is_monkey(wildcards.dataset):
        spec["training"]["finetune"] = None
    return canonical(spec)


def compression_spec(wildcards):
    return canonical(
        get_system(wildcards.system).model_dump(mode="json", exclude={"published"})
    )


def systems_spec(systems):
    """The rows of a table, in order."""
    return canonical(
        [[name, run.systems[name].model_dump(mode="json")] for name in systems]
    )


# ---- Ablations -------------------------------------------------------------------------


def ablation_systems(ablation):
    """Label -> system, in order."""
    variants = run.ablations.get(ablation)
    if not variants:
        raise WorkflowError(f"ablations.{ablation} lists no variants")
    return {variant.label: variant.system for variant in variants}


def ablation_sessions(ablation):
    """Those with all cortex areas that its systems read."""
    if ablation != "cortex":
        return run.sessions
    areas = {
        area
        for name in ablation_systems(ablation).values()
        for area in get_system(name).areas
    }
    return [name for name in run.sessions if areas <= get_session(name).areas.keys()]


def ablation_results(wildcards):
    sessions = ablation_sessions(wildcards.ablation)
    if not sessions:
        raise WorkflowError(
            f"ablations.{wildcards.ablation}: no session has all the cortex areas"
        )
    return expand(
        "results/evaluate/{system}/{session}/seed{seed}/metrics.json",
        system=dict.fromkeys(ablation_systems(wildcards.ablation).values()),
        session=sessions,
        seed=run.seeds,
    )


def ablation_spec(wildcards):
    labels = ablation_systems(wildcards.ablation)
    systems = [
        [name, get_system(name).model_dump(mode="json")] for name in labels.values()
    ]
    return json.dumps([labels, systems])  # in the order of the configuration


def made_ablations():
    """Ablations with variants and with sessions for them."""
    return [
        name for name, each in run.ablations.items() if each and ablation_sessions(name)
    ]


def compared_tables():
    """Tables that hold results, those of ablations too."""
    results = [name for name in written_tables() if name != "hyperparameters"]
    return [*results, *expand("{ablation}_ablation", ablation=made_ablations())]


# ---- Search ----------------------------------------------------------------------------


def get_search():
    if run.search is None:
        raise WorkflowError("search: null in this configuration")
    return run.search


def trials(numbers):
    return [f"results/search/trial{number}.json" for number in numbers]


def earlier_trials(wildcards):
    """The latest whose outcomes a trial must know; these in turn wait for all before them."""
    number, parallel = int(wildcards.number), get_search().parallel
    if number >= get_search().trials:
        raise WorkflowError(f"search.trials: there is no trial {number}")
    return trials(range(max(0, number - 2 * parallel + 1), number - parallel + 1))


def trial_spec(wildcards):
    """What outcomes depend on: not the number of trials, so that more can follow."""
    search = get_search()
    return canonical(
        [
            search.model_dump(mode="json", exclude={"trials"}),
            get_system(search.system).model_dump(mode="json", exclude={"published"}),
        ]
    )


def search_spec(wildcards):
    """The same, and the parameters in the order of the configuration."""
    search = get_search()
    system = get_system(search.system)
    return json.dumps([search.model_dump(mode="json"), system.model_dump(mode="json")])


# ---- Resources --------------------------------------------------------------------------


GPU = int(run.device == "cuda" or (run.device == "auto" and bool(gpus.visible())))
DEVICE = "cuda" if GPU else "cpu"


def grows(amount):
    """A resource that every further attempt gets more of."""
    return lambda wildcards, attempt: attempt * amount


def grows_with_input(amount, per_mb):
    return lambda wildcards, input, attempt: (
        attempt * int(amount + per_mb * input.size_mb)
    )


def fetch_memory(wildcards, attempt):
    """Simulation keeps all of a session; a download and a copy keep a piece of it."""
    session_mb = 1.2 * run.synthetic.duration_s if run.source == "synthetic" else 0
    return attempt * int(500 + session_mb)


def training_stages(wildcards):
    """A closed form has none."""
    training = get_system(wildcards.system).training
    stage = training.pretrain if is_monkey(wildcards.dataset) else training.finetune
    return [stage] if stage else []


def training_memory(wildcards, input, attempt):
    stages = training_stages(wildcards)
    return attempt * demand.memory_mb(stages, input.size_mb, DEVICE)


def training_minutes(wildcards, attempt):
    dataset = wildcards.dataset
    sessions = len(run.pretrain_sessions.get(dataset, [dataset]))
    return attempt * demand.minutes(training_stages(wildcards), sessions, DEVICE)


def compression_memory(wildcards, input, attempt):
    stages = demand.stages_of(get_system(wildcards.system))
    return attempt * demand.memory_mb(stages, input.size_mb, DEVICE)


def compression_minutes(wildcards, attempt):
    stages = demand.stages_of(get_system(wildcards.system))
    return attempt * demand.minutes(stages, 1, DEVICE)


def trial_memory(wildcards, input, attempt):
    stages = [get_system(get_search().system).training.finetune]
    return attempt * 2 * demand.memory_mb(stages, input.size_mb, DEVICE)


def trial_minutes(wildcards, attempt):
    stages = [get_system(get_search().system).training.finetune]
    return attempt * 2 * demand.minutes(stages, 1, DEVICE)


# ---- Errors -----------------------------------------------------------------------------


def forget_errors():
    ERRORS.unlink(missing_ok=True)


def print_errors():
    """Repeat what went wrong as the last thing on the terminal, each message once."""
    lines = ERRORS.read_text().splitlines() if ERRORS.exists() else []
    for line in dict.fromkeys(lines):
        print(f"\nerror: {line}", file=sys.stderr)
