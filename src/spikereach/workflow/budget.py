"""What a run will cost: its trainings, counted from the plan, times what an update costs here."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spikereach.config import Config, ConfigError, FixedPoint, Stage, System
from spikereach.config.sessions import folded, unfolded
from spikereach.progress import progress_bar
from spikereach.workflow.plan import Plan

if TYPE_CHECKING:
    from spikereach.training.cost import Cost

SHARES = {"neurobench": (0.5, 0.25), "liu2024": (0.617, 0.133)}
"""Of training and validation part, by split."""
TEST_SHARE = 0.25
PREDICTED_BYTES = 25
"""Of results per step of the test part, as measured: predictions, compressed."""


@dataclass(frozen=True)
class Work:
    """A training that a run does, and all that its cost depends on."""

    system: str
    """Whose entry has the recipe."""
    what: str
    """``pretrain``, ``finetune``, ``search`` (the fine-tuning of a trial), or the kind of a
    compression step, in a trial with ``search, `` before it."""
    stage: Stage
    split: str
    areas: tuple[str, ...]
    """Cortex area of each input channel."""
    sessions: tuple[str, ...]
    seed: int
    """Or the number of a trial."""
    times: int = 1
    """The most that the step retrains."""
    fixed_point: FixedPoint | None = None
    folds: int | None = None
    """Blocks of the sessions, where these are folds: the split does not count then."""

    @property
    def shares(self) -> tuple[float, float]:
        """Of training and validation part; gaps are left out of account."""
        return SHARES[self.split] if self.folds is None else (1 - 2 / self.folds, 1 / self.folds)

    def updates(self, steps: Sequence[int]) -> int:
        """Of all epochs, for sessions of so many steps each."""
        stage, (train, validation) = self.stage, self.shares
        share = train + validation if stage.part == "train+val" else train
        count = _windows([int(n * share) for n in steps], stage.window, stage.stride)
        drawn = (stage.updates_per_epoch or 0) * stage.batch or count
        whole = math.floor if stage.last_batch == "drop" else math.ceil
        return self.times * stage.epochs * whole(drawn / stage.batch)

    def validated(self, steps: Sequence[int]) -> int:
        """Steps that are decoded for validation in all epochs; of windows, those of each."""
        stage = self.stage
        parts = [int(n * self.shares[1]) for n in steps]
        once = sum(parts)
        if stage.validate_on == "windows":
            once = stage.window * _windows(
                parts, stage.window, stage.validation_stride or stage.stride
            )
        return self.times * stage.epochs * once


def _windows(parts: Iterable[int], window: int, stride: int) -> int:
    return sum(max(0, (n - window) // stride + 1) for n in parts)


@dataclass(frozen=True)
class Budget:
    """The trainings of a configured run and what is known of their cost before it begins."""

    config: Config

    @cached_property
    def plan(self) -> Plan:
        return Plan(self.config, str)  # files are named, none is read

    # ---- What is to be done -----------------------------------------------------------------

    def works(self, decoders: Iterable[tuple[str, str, int]]) -> list[Work]:
        """All trainings behind decoders (system, session, seed), each once.

        Closed forms and published weights have none.
        """
        found: dict[Work, None] = {}
        for system, session, seed in decoders:
            base = self.plan.system(system).base or system
            training = self.plan.system(base).training
            if training is None:
                continue
            common = {"split": training.split, "areas": self._areas(base, session), "seed": seed}
            fold = unfolded(session)[1]
            if fold is not None:
                common["folds"] = self.config.blocked.folds
            monkey = self.plan.session(session).monkey
            if training.pretrain and self.plan.stage(monkey) == "pretrain":
                others = tuple(folded(n, fold) for n in self.config.pretrain_sessions[monkey])
                found[Work(base, "pretrain", training.pretrain, sessions=others, **common)] = None
            alone = common | {"sessions": (session,)}
            if training.finetune:
                found[Work(base, "finetune", training.finetune, **alone)] = None
            found |= dict.fromkeys(self._compressions(system, "", **alone))
        return list(found)

    def _compressions(self, system: str, what: str, **common: Any) -> Iterator[Work]:
        for each in self.plan.system(system).compression:
            if stages := each.retrainings:
                fixed = each if isinstance(each, FixedPoint) else None
                more = {"times": len(stages), "fixed_point": fixed}
                yield Work(system, what + each.kind, stages[0], **common, **more)

    def trials(self) -> list[Work]:
        """Those of all searches."""
        found = []
        for search in self.config.search.values():
            training = self.plan.training(search.system)
            common = {"split": training.split, "sessions": (search.session,)}
            common["areas"] = self._areas(search.system, search.session)
            for number in range(search.trials):
                alone = common | {"seed": number}
                found.append(Work(search.system, "search", training.finetune, **alone))
                found += self._compressions(search.system, "search, ", **alone)
        return found

    def _areas(self, system: str, session: str) -> tuple[str, ...]:
        read = self.plan.system(system).areas
        return tuple(
            area
            for area in self.plan.session(session).area_of_channels
            if read is None or area in read
        )

    def targets(self, systems: Sequence[str] = ()) -> dict[str, list[Work]]:
        """What can be asked for -> the trainings that it needs if nothing is there yet.

        Single systems where they are named; else every table, ablation and the search, and
        ``paper``, which is all of them.

        Raises:
            ConfigError: an unknown system.
        """
        if systems:
            return {name: self.works(self.plan.evaluated([name])) for name in systems}
        apart = {"deployment": self.plan.deployed, "blocked": self.plan.blocked}
        found = {
            name: self.works(apart[name]() if name in apart else self.plan.evaluated(listed))
            for name, listed in self.config.tables.items()
            if listed and name not in ("hyperparameters", "imported")  # of recipes, of weights
        }
        for ablation in self.plan.made_ablations():
            found[f"{ablation}_ablation"] = self.works(self.plan.ablated(ablation))
        if trials := self.trials():
            found["search"] = trials
        return found | {"paper": [*self.works(self.plan.decoders()), *trials]}

    # ---- What it costs ----------------------------------------------------------------------

    def steps(self, session: str) -> int:
        if session not in self._steps:
            self._steps[session] = self.plan.source.steps(self.plan.session(session))
        return self._steps[session]

    @cached_property
    def _steps(self) -> dict[str, int]:
        return {}

    def session_bytes(self, work: Work) -> int:
        """Memory of the sessions that a training reads: spikes as bytes, velocity and position."""
        return sum(
            self.steps(name) * (self.plan.session(name).channels + 16) for name in work.sessions
        )

    def storage(self, systems: Sequence[str] = ()) -> dict[str, int]:
        """Numbers of decoders and sessions, and bytes to download and to keep on a disk.

        Kept are the recordings and the results, above all predictions; models are small.
        """
        named = dict.fromkeys(systems)
        decoders = self.plan.evaluated(named) if systems else self.plan.decoders()
        names = {session for _, session, _ in decoders}
        works = self.works(decoders) if systems else [*self.works(decoders), *self.trials()]
        names |= {session for work in works for session in work.sessions}
        names = {unfolded(name)[0] for name in names}
        source = self.plan.source
        download = sum(source.download_bytes(self.plan.session(name)) for name in names)
        of_fold = 1 / self.config.blocked.folds
        tested = sum(
            self.steps(name) * (TEST_SHARE if unfolded(name)[1] is None else of_fold)
            for _, name, _ in decoders
        )
        return {
            "decoders": len(decoders),
            "sessions": len(names),
            "download_bytes": download,
            "keep_bytes": download + round(PREDICTED_BYTES * tested),
        }

    def recipe(self, work: Work) -> tuple:
        """Equal for trainings of which an update costs the same."""
        entry, stage = self._trained(work.system), work.stage
        bits = work.fixed_point and work.fixed_point.formats
        penalties = tuple(map(bool, stage.penalties.model_dump().values()))
        kept = ("batch", "window", "optimiser", "loss", "validate_on")
        settings = tuple(getattr(stage, key) for key in kept)
        sizes = System.model_dump_json(entry, include={"architecture", "sizes"})
        return sizes, work.areas, bits, penalties, stage.clip_norm is None, settings

    def measure(self, works: Iterable[Work], device: str, seconds: float) -> dict[Work, Cost | str]:
        """The cost of an update of each, or in words how measuring it failed.

        Args:
            works: any, in any order.
            device: "cpu" or "cuda".
            seconds: for all recipes together, compiling not counted.
        """
        import torch

        from spikereach.training import cost

        recipes: dict[tuple, Work] = {}
        for work in works:
            recipes.setdefault(self.recipe(work), work)
        found: dict[tuple, Any] = {}
        share, place = seconds / max(1, len(recipes)), torch.device(device)
        for key, work in progress_bar(recipes.items(), desc="measuring", unit="recipe"):
            try:
                found[key] = cost.measure(self._decoder(work), work.stage, place, share)
            except Exception as error:  # such as a GPU that is too small for one of many
                traceback.print_exc()
                found[key] = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return {work: found[self.recipe(work)] for work in works}

    def _trained(self, system: str) -> System:
        """The entry whose net is trained: that of the base, where there is one."""
        return self.plan.system(self.plan.system(system).base or system)

    def _decoder(self, work: Work) -> Any:
        from spikereach.compression.fixed_point import constrain
        from spikereach.models import zoo

        entry = self._trained(work.system)
        decoder = zoo.build(entry, len(work.areas), areas=work.areas)
        if work.fixed_point:
            decoder.fold()
            constrain(decoder, work.fixed_point)
        return decoder

    def seconds(self, work: Work, cost: Cost) -> float:
        """Of a training without early stopping."""
        steps = list(map(self.steps, work.sessions))
        return work.updates(steps) * cost.update_s + work.validated(steps) * cost.validation_s

    def trainings(self, costs: Mapping[Work, Cost | str], process_bytes: int | None) -> list[dict]:
        """One row for trainings of a system that are equal but for sessions and seeds.

        Args:
            costs: as :meth:`measure` gives them.
            process_bytes: memory of a training without a batch and sessions; on CUDA None.
        """
        rows: dict[tuple, dict[str, Any]] = {}
        for work, cost in costs.items():
            known_by = work.system, work.what, len(work.areas)
            row = dict(zip(("system", "training", "channels"), known_by, strict=True))
            row = rows.setdefault(known_by, row | {"batch": work.stage.batch, "runs": 0})
            row["runs"] += 1
            if isinstance(cost, str):
                row["failed"] = cost
                continue
            taken = None
            if cost.memory_bytes is not None:
                taken = cost.memory_bytes + self.session_bytes(work) + (process_bytes or 0)
                taken = max(taken, row.get("memory_bytes") or 0)
            row |= {
                "measured_batch": cost.batch,
                "update_ms": 1000 * cost.update_s,
                "hours": row.get("hours", 0) + self.seconds(work, cost) / 3600,
                "memory_bytes": taken,
            }
        return list(rows.values())

    def totals(
        self, targets: Mapping[str, Iterable[Work]], costs: Mapping[Work, Cost | str]
    ) -> list[dict]:
        """Hours of every target, one training at a time; those that failed are counted apart."""
        rows = []
        for name, works in targets.items():
            works = list(works)
            hours = [
                self.seconds(work, cost) / 3600
                for work in works
                if not isinstance(cost := costs[work], str)
            ]
            failed = len(works) - len(hours)
            rows.append(
                {"target": name, "trainings": len(works), "hours": sum(hours), "failed": failed}
            )
        return rows


def project(config: Config, systems: Sequence[str], device: str, seconds: float) -> dict[str, Any]:
    """Measure and multiply: all that is known of what a run will cost, JSON-like.

    Args:
        config: of the run; its threads are taken.
        systems: these alone; none: all that the run shows.
        device: "auto", "cpu" or "cuda".
        seconds: to measure for, all recipes together.
    Returns:
        the machine; ``trainings``, one row for each kind; ``targets``, with the hours of each;
        ``storage``.
    Raises:
        ConfigError: an unknown system, or no GPU where one is asked for.
        SessionError: a recording of one's own that cannot be read.
    """
    import torch

    import spikereach
    from spikereach.training import cost

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda is asked for, but torch sees no GPU; give --device cpu")
    torch.set_num_threads(config.threads)
    budget = Budget(config)
    targets = budget.targets(systems)
    begun = time.perf_counter()
    works = dict.fromkeys(work for works in targets.values() for work in works)
    costs = budget.measure(works, device, seconds)
    return {
        "device": device,
        "name": cost.name(torch.device(device)),
        "threads": config.threads,
        "torch": torch.__version__,
        "spikereach": spikereach.__version__,
        "seconds": round(time.perf_counter() - begun, 1),
        "neurobench_steps": config.evaluation.neurobench_steps,
        "trainings": budget.trainings(costs, cost.resident_bytes() if device == "cpu" else None),
        "targets": budget.totals(targets, costs),
        "storage": budget.storage(systems),
    }
