"""The plan of a run: which files its jobs make, what each reads, depends on and asks for.

The rules in workflow/rules ask it with a job's wildcards. It knows neither Snakemake nor torch,
and does no work: a plan is made from a configuration, and can be asked anything in a test. Paths
are relative to the run folder.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from spikereach.config import Config, ConfigError, Firmware, Search, Stage, System, Training
from spikereach.config.architectures import locate
from spikereach.config.nearest import nearest
from spikereach.config.sessions import Session, evaluation_session, find, folded, unfolded
from spikereach.data import sources
from spikereach.export.firmware.machines import missing
from spikereach.identity import canonical, code_digest
from spikereach.published import weights
from spikereach.workflow import demand, gpus

ARM = "arm"
"""In the place of a system: the arm itself moves the cursor."""
EXPORTED = (
    *("decoder.h", "decoder.c", "weights.h", "weights.c", "main.c", "Makefile"),
    *("spikes.bin", "velocities.bin", "manifest.json"),
)
"""The files of a decoder as C."""


def _known(kind: str, entries: Mapping[str, Any], name: str) -> Any:
    if name not in entries:
        raise ConfigError(f"the configuration has no {kind} {name!r}; {nearest(name, entries)}")
    return entries[name]


@dataclass(frozen=True, eq=False)
class Plan:
    """The plan of a configuration.

    What it is asked for by name (systems, sessions, tables) may be wrong, because the names come
    from the files that a user asks Snakemake for: then it raises a ConfigError.
    """

    config: Config
    script: Callable[[str], str | Path]
    """The file of a script in workflow/scripts, by its name."""

    # ---- Names ------------------------------------------------------------------------------

    def session(self, name: str) -> Session:
        """Of a fold, the session that it is of."""
        return find(unfolded(name)[0], self.config.catalogue)

    def system(self, name: str) -> System:
        return _known("system", self.config.systems, name)

    def architecture(self, system: str) -> str:
        """Of a system or of the system it starts from."""
        return self.system(self.system(system).base or system).architecture

    def table(self, name: str) -> tuple[str, ...]:
        """The systems of a table, in order."""
        systems = _known("table", self.config.tables, name)
        if not systems:
            raise ConfigError(f"tables.{name} lists no systems: name those that it shall have")
        return systems

    def tabled_systems(self) -> list[str]:
        """All trained systems that stand in some table of results of all seeds, each once.

        Without those of the frontier, which stand apart. In the order of the longest table: that of
        the tables changes with overlays.
        """
        tables = sorted(self.config.tables.items(), key=lambda item: (-len(item[1]), item[0]))
        names = [
            name
            for table, systems in tables
            if table not in ("hyperparameters", "deployment", "blocked", "frontier")
            for name in systems
            if self.system(name).weights is None
        ]
        return list(dict.fromkeys(names))

    def convolutional_systems(self) -> list[str]:
        """Hybrid systems, the first of each layout of convolutions."""
        layouts: dict[Any, str] = {}
        for name, system in self.config.systems.items():
            if system.architecture == "hybrid":
                layouts.setdefault((system.sizes["blocks"], system.sizes["kernel"]), name)
        return list(layouts.values())

    def code(self, script: str, system: str | None = None) -> str:
        """Digest of the code a script runs, with what it imports by name only.

        That are the module of a system's architecture and, where it is compressed or trained
        further, its steps'.
        """
        try:
            modules = [] if system is None else [locate(self.architecture(system))[0]]
            if system is not None and script in ("compress_decoder", "close_loop", "run_trial"):
                kinds = [step.kind for step in self.config.systems[system].compression]
                kinds += ["retrain"] * (script == "close_loop")
                modules += [f"spikereach.compression.{kind}" for kind in kinds]
            return code_digest(self.script(script), *modules)
        except (ModuleNotFoundError, SyntaxError) as error:
            owner = system and (self.system(system).base or system)
            raise ConfigError(f"systems.{owner}.architecture: {error}") from None

    # ---- Sessions ---------------------------------------------------------------------------

    @cached_property
    def all_sessions(self) -> list[str]:
        """Sessions the run evaluates, and those its systems are pretrained on."""
        pretrain = self.config.pretrain_sessions
        monkeys = dict.fromkeys(self.session(name).monkey for name in self.config.sessions)
        pretraining = [name for monkey in monkeys for name in pretrain.get(monkey, ())]
        return list(dict.fromkeys([*self.config.sessions, *pretraining]))

    @staticmethod
    def binned(session: str) -> str:
        return f"data/binned/{session}.h5"

    @cached_property
    def source(self) -> sources.Source:
        return sources.of(self.config)

    def fetch_inputs(self, session: str) -> dict[str, str]:
        """One's own file, so that a new one there is fetched again."""
        path = self.source.local_file(self.session(session))
        return {} if path is None else {"local": str(path)}

    def fetch_priority(self, session: str) -> int:
        """Sessions come in the configuration's order; no download holds up other work."""
        return -self.all_sessions.index(session) if session in self.all_sessions else 0

    def origin(self, session: str) -> str:
        """Where a session comes from; how it is downloaded does not matter."""
        return canonical(self.source.key(self.session(session)))

    def session_spec(self, session: str) -> str:
        return canonical(asdict(self.session(session)))

    def fold_spec(self, session: str, fold: int | str) -> str:
        """How a fold is made of a binned session."""
        blocked = self.config.blocked
        find(session, self.config.catalogue)
        if int(fold) > blocked.folds:
            raise ConfigError(f"blocked.folds is {blocked.folds}: there is no fold {fold}")
        return canonical({"number": int(fold), **dict(blocked)})

    # ---- Training and compression -----------------------------------------------------------

    @staticmethod
    def trained(system: str, dataset: str, seed: int | str) -> str:
        return f"results/train/{system}/{dataset}/seed{seed}/checkpoint.safetensors"

    def training(self, system: str) -> Training:
        """The recipe of a system that is trained itself."""
        if (training := self.system(system).training) is None:
            raise ConfigError(f"systems.{system} has no `training` itself")
        return training

    def stage(self, dataset: str) -> str:
        """A monkey's sessions are pretrained on, a single one is fine-tuned on."""
        monkeys = self.config.pretrain_sessions
        return "pretrain" if unfolded(dataset)[0] in monkeys else "finetune"

    def training_inputs(self, system: str, dataset: str, seed: int | str) -> dict[str, Any]:
        """Pretraining reads all sessions of a monkey; fine-tuning one, and pretrained weights.

        For a fold, all are the fold of the same number: none has seen what is tested on.
        """
        training, (name, fold) = self.training(system), unfolded(dataset)
        if self.stage(dataset) == "pretrain":
            sessions = self.config.pretrain_sessions[name]
            return {"binned": [self.binned(folded(each, fold)) for each in sessions]}
        inputs: dict[str, Any] = {"binned": [self.binned(dataset)]}
        monkey = self.session(dataset).monkey
        if training.pretrain is not None and self.stage(monkey) == "pretrain":
            inputs["pretrained"] = self.trained(system, folded(monkey, fold), seed)
        return inputs

    def training_spec(self, system: str, dataset: str) -> str:
        """What the training of a system on a dataset depends on."""
        spec = self.system(system).model_dump(mode="json", exclude={"compression", "published"})
        if self.stage(dataset) == "pretrain":
            spec["training"]["finetune"] = None
        return canonical(spec)

    def base_checkpoint(self, system: str, session: str, seed: int | str) -> str:
        """The trained checkpoint that a compression starts from."""
        return self.trained(self.system(system).base or system, session, seed)

    def compression_spec(self, system: str) -> str:
        return canonical(self.system(system).model_dump(mode="json", exclude={"published"}))

    # ---- Published weights ------------------------------------------------------------------

    def published_weights(self, system: str) -> dict[tuple[str, int], weights.Source]:
        """The published files that a system with `weights` is evaluated with, by session and seed.

        A synthetic session takes those of the session it is calibrated to; sessions without
        published weights are left out.
        """
        return {
            (session, source.seed): source
            for session in self.config.sessions
            for source in weights.of_system(self.system(system).published)
            if source.session == evaluation_session(session)
        }

    def weights_file(self, system: str, session: str, seed: int | str) -> str:
        """The published file of one checkpoint."""
        if self.system(system).weights is None:
            raise ConfigError(f"systems.{system} has no published `weights`")
        found = self.published_weights(system)
        if (session, int(seed)) not in found:
            known = ", ".join(f"{name} seed {number}" for name, number in found) or "none"
            raise ConfigError(
                f"{system}: no published weights for {session} seed {seed}; on the configured "
                f"sessions there are: {known}"
            )
        return f"data/weights/{found[session, int(seed)].file}"

    def weights_files(self) -> list[str]:
        """The published files of all systems in the table of imported ones."""
        return [
            f"data/weights/{source.file}"
            for system in self.config.tables.get("imported", ())
            for source in self.published_weights(system).values()
        ]

    def import_spec(self, system: str) -> str:
        return canonical(self.system(system))

    # ---- Evaluation -------------------------------------------------------------------------

    def final_checkpoint(self, system: str, session: str, seed: int | str) -> str:
        """The checkpoint that stands for a system: compressed where it has a compression."""
        found = self.system(system)
        if not (found.weights or found.compression):
            return self.base_checkpoint(system, session, seed)
        kind = "import" if found.weights else "compress"
        return f"results/{kind}/{system}/{session}/seed{seed}/checkpoint.safetensors"

    @staticmethod
    def evaluation(system: str, session: str, seed: int | str, file: str = "metrics.json") -> str:
        return f"results/evaluate/{system}/{session}/seed{seed}/{file}"

    def evaluation_spec(self) -> str:
        return canonical(self.config.evaluation)

    def evaluated(self, systems: Iterable[str]) -> list[tuple[str, str, int]]:
        """(system, session, seed), all sessions and seeds; published weights have their own."""
        return [
            (system, session, seed)
            for system in systems
            for session, seed in (
                self.published_weights(system)
                if self.system(system).weights
                else product(self.config.sessions, self.config.seeds)
            )
        ]

    def evaluations(self, systems: Iterable[str], file: str = "metrics.json") -> list[str]:
        """Result files of systems on all sessions with all seeds."""
        return [self.evaluation(*each, file) for each in self.evaluated(systems)]

    def decoders(self) -> list[tuple[str, str, int]]:
        """(system, session, seed) of all that tables, figures and ablations show, each once."""
        apart = (
            name for key in ("imported", "frontier") for name in self.config.tables.get(key, ())
        )
        systems = [*self.tabled_systems(), *apart]
        wanted = self.evaluated([*systems, *self.config.trajectory.systems])
        if self.config.firmware is not None and self.config.tables.get("deployment"):
            wanted += self.deployed()
        if self.config.tables.get("blocked"):
            wanted += self.blocked()
        for ablation in self.made_ablations():
            wanted += self.ablated(ablation)
        return list(dict.fromkeys(wanted))

    def final_checkpoints(self) -> list[str]:
        """The checkpoints of all decoders, each once."""
        return list(dict.fromkeys(self.final_checkpoint(*each) for each in self.decoders()))

    # ---- Firmware ---------------------------------------------------------------------------

    @property
    def firmware(self) -> Firmware:
        if self.config.firmware is None:
            because = f": {lacking}" if (lacking := missing()) else ""
            raise ConfigError(f"firmware: null in this configuration{because}")
        return self.config.firmware

    @staticmethod
    def exported(system: str, session: str, seed: int | str) -> list[str]:
        """The decoder as C, and bins with the velocities that it gives for them."""
        folder = f"results/export/{system}/{session}/seed{seed}"
        return [f"{folder}/{file}" for file in EXPORTED]

    @staticmethod
    def measured(system: str, session: str, seed: int | str) -> str:
        return f"results/firmware/{system}/{session}/seed{seed}/firmware.json"

    def deployed(self) -> list[tuple[str, str, int]]:
        """(system, session, seed) of the table: the first seed of each on all sessions."""
        systems = self.table("deployment")
        return list(product(systems, self.config.sessions, self.config.seeds[:1]))

    # ---- Closed loop ------------------------------------------------------------------------

    @staticmethod
    def loop(system: str, session: str, seed: int | str) -> str:
        return f"results/closed_loop/{system}/{session}/seed{seed}/loop.json"

    def loop_inputs(self, system: str, session: str, seed: int | str) -> dict[str, str]:
        """The session, and of a decoder its checkpoint."""
        inputs = {"binned": self.binned(session)}
        if system != ARM:
            inputs["checkpoint"] = self.final_checkpoint(system, session, seed)
        return inputs

    def loop_code(self, system: str) -> str:
        return self.code("close_loop", None if system == ARM else system)

    def loop_spec(self, system: str) -> str:
        """What is played with a system, or with the arm itself."""
        if not self.loops:
            raise ConfigError(
                "closed_loop: a brain can be driven on synthetic sessions only (source: "
                "synthetic), and closed_loop must not be null"
            )
        played = self.config.closed_loop
        delays = played.added_delays_ms if system in (played.delayed, ARM) else ()
        recipe = played.recalibration
        if recipe is not None:
            wanted = system in recipe.systems
            recipe = recipe.model_dump(mode="json", exclude={"systems"}) if wanted else None
        return canonical(
            {
                "architecture": None if system == ARM else self.architecture(system),
                "trials": played.trials,
                "added_delays_ms": delays,
                "recalibration": recipe,
                "synthetic_seed": self.config.synthetic.seed,
            }
        )

    @property
    def loops(self) -> bool:
        """Whether the loop is closed in this run."""
        return self.config.closed_loop is not None and not self.source.real

    def looped(self) -> list[tuple[str, str, int]]:
        """(system, session, seed) of the table: the first seed of each on all sessions."""
        systems = self.table("closed_loop")
        return list(product(systems, self.config.sessions, self.config.seeds[:1]))

    # ---- Cross-validation -------------------------------------------------------------------

    def blocked(self) -> list[tuple[str, str, int]]:
        """(system, session, seed) of the table: all sessions, and each of their folds."""
        numbers = [None, *range(1, self.config.blocked.folds + 1)]
        sessions = [folded(name, n) for name in self.config.sessions for n in numbers]
        return list(product(self.table("blocked"), sessions, self.config.seeds))

    # ---- Figures and ablations --------------------------------------------------------------

    def trajectory_inputs(self, session: str) -> list[str]:
        """The predictions that the figure of decoded movement shows: the first seed's."""
        seed = self.config.seeds[0]
        return [
            self.evaluation(name, session, seed, "predictions.h5")
            for name in self.config.trajectory.systems
        ]

    def ablation_systems(self, ablation: str) -> dict[str, str]:
        """Label -> system, in order."""
        variants = self.config.ablations.get(ablation)
        if not variants:
            raise ConfigError(f"ablations.{ablation} lists no variants")
        return {variant.label: variant.system for variant in variants}

    def ablation_sessions(self, ablation: str) -> list[str]:
        """Those with all cortex areas that its systems name."""
        areas = set(self._ablation_areas(ablation)) if ablation != "compression" else set()
        return [name for name in self.config.sessions if areas <= self.session(name).areas.keys()]

    def _ablation_areas(self, ablation: str) -> list[str]:
        systems = map(self.system, self.ablation_systems(ablation).values())
        return list(dict.fromkeys(area for system in systems for area in system.areas or ()))

    def ablated(self, ablation: str) -> list[tuple[str, str, int]]:
        """(system, session, seed), each once."""
        systems = dict.fromkeys(self.ablation_systems(ablation).values())
        return list(product(systems, self.ablation_sessions(ablation), self.config.seeds))

    def ablation_results(self, ablation: str, file: str = "metrics.json") -> list[str]:
        if not self.ablation_sessions(ablation):
            raise ConfigError(
                f"ablations.{ablation}: no session has all the areas that its systems read "
                f"({', '.join(self._ablation_areas(ablation))}); name the sessions' own in `areas` "
                f"of these systems, or write ablations: {{{ablation}: []}}"
            )
        return [self.evaluation(*each, file) for each in self.ablated(ablation)]

    def made_ablations(self) -> list[str]:
        """Ablations with variants and with sessions for them."""
        return [
            name
            for name, variants in self.config.ablations.items()
            if variants and self.ablation_sessions(name)
        ]

    # ---- Search -----------------------------------------------------------------------------

    def search(self, name: str) -> Search:
        if not self.config.search:
            raise ConfigError("search: null in this configuration")
        return _known("search", self.config.search, name)

    @staticmethod
    def trials(search: str, numbers: Iterable[int]) -> list[str]:
        return [f"results/search/{search}/trial{number}.json" for number in numbers]

    def all_trials(self, search: str) -> list[str]:
        return self.trials(search, range(self.search(search).trials))

    def found(self) -> list[str]:
        """What each search ends with: its best trial or, of several objectives, all those that no
        other surpasses."""
        return [
            f"results/search/{name}/{'frontier' if len(search.objectives) > 1 else 'best'}.yaml"
            for name, search in self.config.search.items()
        ]

    def trial_inputs(self, search: str, number: int | str) -> dict[str, Any]:
        """The session, and the latest trials whose outcomes a trial must know.

        These in turn wait for all before them.
        """
        found, number = self.search(search), int(number)
        if number >= found.trials:
            raise ConfigError(f"search.{search}.trials: there is no trial {number}")
        earlier = range(max(0, number - 2 * found.parallel + 1), number - found.parallel + 1)
        return {"binned": self.binned(found.session), "earlier": self.trials(search, earlier)}

    def trial_spec(self, search: str) -> str:
        """What outcomes depend on: not the number of trials, so that more can follow."""
        found = self.search(search)
        return canonical(
            [
                found.model_dump(mode="json", exclude={"trials"}),
                self.system(found.system).model_dump(mode="json", exclude={"published"}),
            ]
        )

    # ---- Resources: memory in MB, time in minutes, of a first attempt -----------------------

    @cached_property
    def device(self) -> str:
        """What trainings run on, "cpu" or "cuda"."""
        wanted = self.config.device
        return ("cuda" if gpus.visible() else "cpu") if wanted == "auto" else wanted

    def trainings(self, system: str, dataset: str | None = None) -> list[Stage]:
        """That of a system on a dataset; without a dataset, as many as its compression may take."""
        if dataset is None:
            return [stage for step in self.system(system).compression for stage in step.retrainings]
        stage = getattr(self.training(system), self.stage(dataset))
        return [stage] if stage else []  # a closed form has none

    def gpus(self, system: str, dataset: str | None = None) -> int:
        """How many a job asks for: one where it trains on CUDA, and not in closed form."""
        return int(self.device == "cuda" and bool(self.trainings(system, dataset)))

    def trial_gpus(self, search: str) -> int:
        return int(self.device == "cuda" and bool(self._tried(search)))

    def _tried(self, search: str) -> list[Stage]:
        """Of a search, the trainings of a trial as its system has them."""
        found = self.search(search)
        return [*self.trainings(found.system, found.session), *self.trainings(found.system)]

    def gpu_places(self, asked: int | None) -> int:
        """How many jobs of one machine may hold a place on its GPUs at a time: no more than there
        are, because others would wait for one, and hold cores meanwhile.

        One where no GPU is visible, so that a job can begin and tell of it.

        Args:
            asked: the user's limit (``--resources gpu=``), or None.
        """
        places = max(1, self.config.jobs_per_gpu * len(gpus.visible()))
        return places if asked is None else min(asked, places)

    def memory(self, system: str, input_mb: float, dataset: str | None = None) -> int:
        return demand.memory_mb(self.trainings(system, dataset), input_mb, self.device)

    def minutes(self, system: str, dataset: str | None = None) -> int:
        name = None if dataset is None else unfolded(dataset)[0]
        sessions = len(self.config.pretrain_sessions.get(name, [name]))
        return demand.minutes(self.trainings(system, dataset), sessions, self.device)

    def trial_memory(self, search: str, input_mb: float) -> int:
        return 2 * demand.memory_mb(self._tried(search), input_mb, self.device)

    def trial_minutes(self, search: str) -> int:
        return 2 * demand.minutes(self._tried(search), 1, self.device)

    def binning_memory(self, input_mb: float) -> int:
        return int(500 + 4 * input_mb)

    def evaluation_memory(self, input_mb: float) -> int:
        return int(1500 + 50 * input_mb)
