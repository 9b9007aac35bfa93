"""What the whole paper costs on one device: `python benchmarks/budget.py [--device cuda]`.

Measures the time of an update and of a decoded step for every training stage in config.yaml, and
multiplies by the number of updates there are: of all systems, sessions, seeds, pretraining,
compression and search. Early stopping is left out and pruning goes to its last step, so that the
sum is an upper limit. Writes benchmarks/budget.json, training by training, and prints a table;
one that fails is marked, the others go on, and the exit code is 1. docs/budget.md tells more.
"""

import argparse
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median

import spikereach  # first of all: it sets how PyTorch's threads wait

# isort: split
import pandas as pd
import torch
from torch.utils.benchmark import timer

from spikereach import config
from spikereach.config import Config, Stage
from spikereach.config.sessions import find
from spikereach.files import replace
from spikereach.kinds import Kind, check_overwriting
from spikereach.models import zoo
from spikereach.models.decoder import STEP_S
from spikereach.models.passes import in_pieces
from spikereach.training import optimisers
from spikereach.training.loop import step
from spikereach.training.scoring import PIECE

ROOT = Path(__file__).resolve().parents[1]
RATE = 0.05  # spikes per channel and step
WARM, TIMED = 3, 10  # updates
TEST_SHARE = 0.25
SHARES = {"neurobench": (0.5, 0.25), "liu2024": (0.617, 0.133)}  # of training and validation


@dataclass(frozen=True)
class Run:
    """Trainings of one kind: equal in everything but seeds and repetitions."""

    system: str
    what: str
    stage: Stage
    split: str
    channels: int
    steps: tuple[int, ...]
    """Length of each session trained on."""
    repetitions: int

    @property
    def updates(self) -> int:
        """Per repetition."""
        stage, (train, validation) = self.stage, SHARES[self.split]
        share = train + validation if stage.part == "train+val" else train
        parts = (int(n * share) for n in self.steps)
        windows = sum((n - stage.window) // stage.stride + 1 for n in parts)
        return stage.epochs * (stage.updates_per_epoch or math.ceil(windows / stage.batch))

    @property
    def decoded(self) -> int:
        """Steps of validation per repetition."""
        return int(sum(self.steps) * SHARES[self.split][1]) * self.stage.epochs


def lengths(paper: Config) -> dict[str, int]:
    """Steps of every session: four times the published test part, else the monkey's mean;
    of a synthetic one as configured."""
    pretraining = (name for names in paper.pretrain_sessions.values() for name in names)
    found = {name: find(name, paper.catalogue) for name in (*paper.sessions, *pretraining)}
    known = {n: round(s.test_steps / TEST_SHARE) for n, s in found.items() if s.test_steps}
    steps = {}
    for name, session in found.items():
        alike = [known[n] for n in known if found[n].monkey == session.monkey]
        configured = round(paper.synthetic.duration_s / STEP_S)
        steps[name] = known.get(name, round(mean(alike)) if alike else configured)
    return steps


def runs(paper: Config) -> Iterator[Run]:
    """Every training of the paper."""
    steps, seeds = lengths(paper), len(paper.seeds)
    monkeys = {name: find(name, paper.catalogue).monkey for name in steps}

    def channels(session: str, system: str) -> int:
        return find(session, paper.catalogue).channels_in(paper.systems[system].areas)

    def run(system: str, what: str, stage: Stage, sessions: Sequence[str], repetitions: int) -> Run:
        split = paper.systems[paper.systems[system].base or system].training.split
        lasting = tuple(steps[session] for session in sessions)
        return Run(system, what, stage, split, channels(sessions[0], system), lasting, repetitions)

    for name, system in paper.systems.items():
        training = system.training
        own = [session for session in paper.sessions if channels(session, name)]
        if training is not None and training.pretrain is not None:
            for monkey in sorted({monkeys[session] for session in own}):
                if sessions := paper.pretrain_sessions.get(monkey):
                    yield run(name, "pretrain", training.pretrain, sessions, seeds)
        for session in own:
            if training is not None and training.finetune is not None:
                yield run(name, "finetune", training.finetune, [session], seeds)
            for each in system.compression:
                if stages := each.retrainings:
                    yield run(name, each.kind, stages[0], [session], seeds * len(stages))
    if search := paper.search:
        stage = paper.systems[search.system].training.finetune
        yield run(search.system, "search", stage, [search.session], search.trials)


def times(run: Run, paper: Config, device: torch.device) -> tuple[float, float]:
    """Seconds per update and per step of validation."""
    areas = ["M1"] * (run.channels // 2) + ["S1"] * (run.channels - run.channels // 2)
    decoder = zoo.build(paper.systems[run.system], run.channels, areas=areas).to(device).train()
    optimiser = optimisers.build(run.stage, list(decoder.parameters()))
    shape = run.stage.window, run.stage.batch
    spikes = (torch.rand(*shape, run.channels, device=device) < RATE).byte()
    target = torch.randn(*shape, 2, device=device)
    update = partial(step, decoder, optimiser, run.stage, spikes, target)
    per_update = median([timed(update) for _ in range(WARM + TIMED)][WARM:])
    decoder.eval()
    stream = (torch.rand(2 * PIECE, 1, run.channels, device=device) < RATE).float()

    @torch.inference_mode()
    def validate() -> None:
        for _ in in_pieces(decoder, stream, PIECE):
            pass

    timed(validate)
    return per_update, timed(validate) / len(stream)


def timed(work: Callable[[], object]) -> float:
    begun = timer()  # waits for CUDA where it is in use
    work()
    return timer() - begun


def project(paper: Config, device: torch.device, systems: Sequence[str]) -> Iterator[dict]:
    """Updates, times and hours of every training of those systems; of one that fails, how."""
    known: dict[tuple, tuple[float, float] | str] = {}
    for run in runs(paper):
        if run.system not in systems:
            continue
        about = {k: v for k, v in asdict(run).items() if k not in ("stage", "steps")}
        about["updates"] = run.updates
        key = run.system, run.stage.model_dump_json(), run.channels
        if key not in known:
            try:
                known[key] = times(run, paper, device)
            except Exception as error:  # such as a GPU that is too small for one of many
                traceback.print_exc()
                known[key] = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(known[key], str):
            yield about | {"failed": known[key]}
            continue
        per_update, per_step = known[key]
        seconds = run.updates * per_update + run.decoded * per_step
        yield about | {
            "update_ms": 1000 * per_update,
            "minutes_each": seconds / 60,
            "hours": seconds * run.repetitions / 3600,
        }


def table(rows: Sequence[dict], device: str) -> str:
    """The hours of each system's trainings, as Markdown, and what failed."""
    failed = {f"{r['system']}, {r['what']}: {r['failed']}": None for r in rows if "failed" in r}
    told = "".join(f"\n\nfailed, and not in the sum: {each}" for each in failed)
    measured = pd.DataFrame([row for row in rows if "failed" not in row])
    if measured.empty:
        return f"Nothing was measured on one {device}{told}"
    groups = measured.groupby(["system", "what"], sort=False)
    shown = groups.agg({"update_ms": "mean", "repetitions": "sum", "hours": "sum"}).reset_index()
    shown.insert(3, "minutes", 60 * shown.hours / shown.repetitions)
    head = ["system", "training", "ms per update", "minutes per run", "runs", "hours"]
    digits = ("", "", ".1f", ".1f", ".0f", ".2f")
    lines = shown.to_markdown(index=False, headers=head, floatfmt=digits)
    hours = f"{measured.hours.sum():.1f} hours in all"
    return f"Upper limit on one {device}:\n\n{lines}\n\n{hours}{told}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--systems", nargs="*", help="default: all of the configuration")
    parser.add_argument(
        "--config", nargs="+", type=Path, default=[ROOT / "config.yaml"], metavar="YAML"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "budget.json")
    given = parser.parse_args(arguments)
    check_overwriting(given.output, Kind.BUDGET, given.config)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no CUDA device here: use --device cpu")
    paper = config.read(*given.config)
    systems = given.systems or list(paper.systems)
    if unknown := set(systems) - paper.systems.keys():
        parser.error(f"unknown systems: {', '.join(sorted(unknown))}")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    result = {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "spikereach": spikereach.__version__,
        "runs": [],
    }
    for row in project(paper, device, systems):
        result["runs"].append(row)
        replace(given.output, (json.dumps(result, indent=1) + "\n").encode())
    print(table(result["runs"], name))
    if any("failed" in row for row in result["runs"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
