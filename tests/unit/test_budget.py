"""What a run will cost: numbers of updates and trainings, times measured, and the command."""

import dataclasses
import json
import math
import re
import time
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from spikereach import config
from spikereach.cli import app
from spikereach.config import record
from spikereach.config.sessions import ZENODO, Session
from spikereach.data import sources
from spikereach.data.binning import BinnedSession
from spikereach.data.folds import fold
from spikereach.data.windows import Windows
from spikereach.models import zoo
from spikereach.training import cost
from spikereach.workflow.budget import Budget


@pytest.fixture(scope="module")
def paper(repository):
    return Budget(config.read(repository / "config.yaml"))


@pytest.fixture(scope="module")
def tiny(repository):
    return [repository / "config.yaml", repository / "tests/workflow/tiny.yaml"]


def session(steps: int) -> BinnedSession:
    """Spikes everywhere, one hundred segments of equal length."""
    bounds = np.linspace(0, steps, 101).astype(np.int64)
    return BinnedSession(
        name="a",
        monkey="a",
        spikes=np.ones((steps, 1), np.uint8),
        velocity=np.arange(2 * steps, dtype=np.float32).reshape(steps, 2),
        position=np.zeros((steps, 2), np.float32),
        areas=("M1",),
        start_s=0.0,
        segments=np.stack([bounds[:-1], bounds[1:]], axis=1),
        provenance={},
    )


def test_a_system_that_is_named_twice_counts_once(paper):
    assert paper.storage(["SNN2", "SNN2"]) == paper.storage(["SNN2"])
    assert paper.targets(["SNN2", "SNN2"]) == paper.targets(["SNN2"])


@pytest.mark.parametrize("system", ["tinyRSNN", "RTnet", "GRU-t2", "SNN2", "AEGRU"])
def test_updates_are_those_of_the_training_loop(paper, system):
    """Windows are counted by what training cuts them with."""
    works = paper.targets([system])[system]
    assert works
    for work in {(work.what, work.sessions): work for work in works}.values():
        steps = [paper.steps(name) for name in work.sessions]
        sessions, stage = list(map(session, steps)), work.stage
        windows = Windows(
            sessions, stage.part, work.split, ["M1"], stage.window, stage.stride, stage.placement
        )
        drawn = (stage.updates_per_epoch or 0) * stage.batch or len(windows)
        # Parts end with segments, and tiles drop their last piece: the projection knows neither.
        updates = work.updates(steps) / stage.epochs / work.times
        assert updates == pytest.approx(drawn / stage.batch, rel=0.02, abs=1.5)
        if stage.validate_on == "windows":
            stride = stage.validation_stride or stage.stride
            windows = Windows(
                sessions, "val", work.split, ["M1"], stage.window, stride, stage.placement
            )
            expected = stage.epochs * work.times * len(windows) * stage.window
            assert work.validated(steps) == pytest.approx(expected, rel=0.05)


def test_trainings_are_the_papers(paper):
    """Every session and seed once per stage; pretraining once per monkey."""
    found = paper.targets(["tinyRSNN"])["tinyRSNN"]
    seeds, sessions = len(paper.config.seeds), len(paper.config.sessions)

    def count(what):
        return sum(work.times for work in found if work.what == what)

    assert count("pretrain") == seeds * len(paper.config.pretrain_sessions)
    assert count("finetune") == seeds * sessions
    # 40, 50, 60, 70 and 80 %, and 75 % once 80 % were too far.
    assert count("prune") == seeds * sessions * 6
    nothing = ["Wiener", "SNN2-imported"]
    assert paper.targets(nothing) == {name: [] for name in nothing}


def test_a_compressed_system_needs_the_one_it_starts_from(paper):
    trained = {(work.system, work.what) for work in paper.targets(["sRTnet"])["sRTnet"]}
    assert trained == {
        ("RTnet", "pretrain"),
        ("RTnet", "finetune"),
        ("sRTnet", "retrain"),
        ("sRTnet", "fixed_point"),
    }


def test_targets_share_their_trainings(paper):
    targets = paper.targets()
    everything = set(targets.pop("paper"))
    assert {"coopt", "r2", "cortex_ablation", "compression_ablation", "search"} <= targets.keys()
    assert set().union(*targets.values()) == everything
    assert len(everything) < sum(map(len, targets.values()))
    assert len(targets["search"]) == paper.config.search["RTnet"].trials
    in_cortex = {name for work in targets["cortex_ablation"] for name in work.sessions}
    assert all(name.startswith("loco") for name in in_cortex)


def test_a_trial_is_compressed_as_its_system_is(repository, paper):
    """Its trainings are those of the system, and none is taken for another one's."""
    content = yaml.safe_load((repository / "config.yaml").read_text())
    space = {"units": {"paths": ["sizes.hidden"], "low": 8, "high": 16}}
    content["search"]["RTnet"] |= {"system": "smallRSNN", "space": space, "trials": 3}
    works = Budget(config.validate(content)).targets()["search"]
    entry = paper.config.systems["smallRSNN"]
    stages = [entry.training.finetune, *(step.retrain for step in entry.compression)]
    assert [work.stage for work in works] == 3 * stages
    assert not set(works) & set(paper.targets(["smallRSNN"])["smallRSNN"])


def test_cross_validation_trains_every_fold(repository):
    """Each as often as the paper's split, on parts that are those of a fold."""
    overlays = ["config.yaml", "workflow/presets/blocked.yaml"]
    paper = Budget(config.read(*(repository / name for name in overlays)))
    works, folds = paper.targets()["blocked"], paper.config.blocked.folds
    seeds, sessions = len(paper.config.seeds), len(paper.config.sessions)
    snn2 = [work for work in works if work.system == "SNN2"]
    assert len(snn2) == seeds * sessions * (folds + 1)
    tiny = [work for work in works if (work.system, work.what) == ("tinyRSNN", "pretrain")]
    assert len(tiny) == seeds * len(paper.config.pretrain_sessions) * (folds + 1)
    work = next(work for work in snn2 if work.folds)
    steps = paper.steps(work.sessions[0])
    assert steps == paper.steps(work.sessions[0].removesuffix(".fold1"))
    moving = np.arange(2 * steps, dtype=np.float32).reshape(steps, 2) ** 2
    whole = dataclasses.replace(session(steps), position=moving)
    split = fold(whole, 3, folds, 0.0).split("neurobench")
    train, validation = work.shares
    assert train * steps == pytest.approx(len(split.train), rel=0.01)
    assert validation * steps == pytest.approx(len(split.val), rel=0.01)


def test_a_batch_that_takes_too_long_is_measured_in_part(paper, monkeypatch):
    """With one thread, processor time: here 10 ms, and 1 ms per window; that of watching the
    memory is not counted."""

    def step(decoder, optimiser, stage, spikes, target):
        tried.append(spikes.shape[1])
        if spikes.shape[1] > most:
            raise torch.OutOfMemoryError
        end = time.process_time() + 0.01 + 1e-3 * spikes.shape[1]
        while time.process_time() < end:
            pass

    monkeypatch.setattr(cost, "step", step)

    def slow():
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass

    monkeypatch.setattr(cost, "_validation", lambda *arguments: 0.0)
    monkeypatch.setattr(cost.gc, "collect", slow)  # as in a process with much in it
    system = paper.config.systems["SNN2"]
    stage = system.training.finetune.model_copy(update={"batch": 10_000, "window": 10})
    device, most = torch.device("cpu"), 10_000
    tried: list[int] = []
    found = cost.measure(zoo.build(system, 4), stage, device, 1.0)
    assert 8 < found.batch < 1000
    assert found.update_s == pytest.approx(10.01, rel=0.1)
    most = 20
    found = cost.measure(zoo.build(system, 4), stage, device, 1.0)
    assert found.batch <= 20 < max(tried)
    assert found.update_s == pytest.approx(10.01, rel=0.1)


def test_an_update_that_does_not_fit_is_gone_before_the_next(paper, monkeypatch):
    """Its tensors would be in the way."""
    draw, failed = torch.rand, []

    def rand(*shape, **options):
        assert all(tensor() is None for tensor in failed)
        return draw(*shape, **options)

    def step(decoder, optimiser, stage, spikes, target):
        hidden = spikes.float()
        if spikes.shape[1] > cost.FIRST:
            failed.append(weakref.ref(hidden))
            raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "rand", rand)
    monkeypatch.setattr(cost, "step", step)
    system = paper.config.systems["SNN2"]
    stage = system.training.finetune.model_copy(update={"batch": 8, "window": 10})
    found = cost.measure(zoo.build(system, 4), stage, torch.device("cpu"), 1.0)
    assert (len(failed), found.batch) == (1, cost.FIRST)


def test_what_is_measured_is_repeatable(paper, monkeypatch):
    """As a training on a GPU: other algorithms take another time."""
    devices, seen = [], []

    @contextmanager
    def repeatable(device):
        devices.append(device)
        yield
        devices.append(None)

    def noted(*arguments):
        seen.append(devices[-1])
        return 0.0

    monkeypatch.setattr(cost, "repeatable", repeatable)
    monkeypatch.setattr(cost, "step", noted)
    monkeypatch.setattr(cost, "_validation", noted)
    system, device = paper.config.systems["SNN2"], torch.device("cpu")
    cost.measure(zoo.build(system, 4), system.training.finetune, device, 0.0)
    assert len(seen) > 2
    assert set(seen) == {device}


def test_memory_is_what_an_update_takes():
    def update():
        torch.zeros(50_000_000).add_(1)  # 200 MB, touched

    for _ in range(2):  # also where it was there before
        _, memory = cost._watched(update, torch.device("cpu"))
        assert memory == pytest.approx(200e6, rel=0.05)
    _, memory = cost._watched(lambda: None, torch.device("cpu"))
    assert memory < 5e6


def test_little_free_memory_keeps_the_batch_small(paper, monkeypatch):
    """On a clock that stands still, so that time is no reason."""
    monkeypatch.setattr(cost, "_clock", lambda device: lambda: 0.0)
    system = paper.config.systems["GRU-t2"]
    stage = system.training.finetune.model_copy(update={"batch": 64})
    measured = {}
    for free in (1e8, 1e12):
        monkeypatch.setattr(cost, "_free", lambda device, free=free: free)
        found = cost.measure(zoo.build(system, 96), stage, torch.device("cpu"), 1.0)
        measured[free] = found.batch
    assert measured[1e8] < measured[1e12] == 64


def test_a_gpu_is_filled_until_it_says_no(paper, monkeypatch):
    """Its free memory is not asked for; what an update takes is known."""
    monkeypatch.setattr(cost, "_free", lambda device: math.inf)
    monkeypatch.setattr(cost, "step", lambda *arguments: None)
    monkeypatch.setattr(cost, "_watched", lambda update, device: (1e-4, 10**9))
    monkeypatch.setattr(cost, "_validation", lambda *arguments: 0.0)
    system = paper.config.systems["SNN2"]
    stage = system.training.finetune.model_copy(update={"batch": 32, "window": 10})
    found = cost.measure(zoo.build(system, 4), stage, torch.device("cpu"), 1.0)
    assert (found.batch, found.memory_bytes) == (32, 10**9)


def test_lengths_and_sizes_of_the_record():
    """Known ones as they are; Loco's lengths by size, Indy's others by the mean."""
    assert record.steps(ZENODO["indy_20160627_01"]) == 840_737
    assert record.steps(ZENODO["indy_20160622_01"]) == 4 * 132_593
    assert record.size(ZENODO["loco_20170302_02"]) == 1_963_627_958
    assert len({record.steps(ZENODO[f"indy_{day}"]) for day in ("20161014_04", "20170124_01")}) == 1
    for name, session in ZENODO.items():
        # The least and the most of those of which both are known: 9.4 and 14.1.
        assert 9 < record.size(session) / session.channels / record.steps(session) < 15, name


def test_sources_know_their_lengths(paper, shared):
    synthetic = paper.config.model_copy(update={"source": "synthetic"})
    session = Session("synthetic_indy_1", "synthetic_indy", {"M1": 96})
    assert sources.of(synthetic).steps(session) == paper.config.synthetic.duration_s * 250
    assert sources.of(synthetic).download_bytes(session) == 0
    folder = str(shared / "recordings")
    local = paper.config.model_copy(update={"source": "local", "folder": folder})
    chewie = Session("chewie_20131003_01", "chewie", {"M1": 174})
    assert sources.of(local).steps(chewie) == pytest.approx(164 * 250, rel=0.01)


def run(configs, *arguments):
    given = [option for path in configs for option in ("--config", path)]
    return CliRunner().invoke(app, [str(each) for each in ("budget", *arguments, *given)])


def test_the_command_on_a_tiny_run(tiny):
    done = run(tiny, "--seconds", 1, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["device"], found["threads"]) == ("cpu", 1)
    rows = {(row["system"], row["training"]): row for row in found["trainings"]}
    assert rows.keys() == {
        ("tinyRSNN", "pretrain"),
        ("tinyRSNN", "finetune"),
        ("RTnet", "finetune"),
        ("sRTnet", "fixed_point"),
    }
    for row in rows.values():
        assert row["runs"] == 1
        assert row["measured_batch"] == row["batch"] == 4
        assert row["hours"] >= 2 * row["update_ms"] / 3.6e6 > 0  # two updates
    hours = {row["target"]: row["hours"] for row in found["targets"]}
    assert hours["paper"] == pytest.approx(sum(row["hours"] for row in rows.values()))
    assert found["storage"] == {
        "decoders": 3,
        "sessions": 2,
        "download_bytes": 0,
        "keep_bytes": 3 * 25 * 2500,
    }


def test_the_command_says_what_it_measured_and_left_out(tiny, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("systems: {RTnet: {training: {finetune: {batch: 16}}}}\n")
    done = run([*tiny, overlay], "Wiener", "sRTnet", "--seconds", 0, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert re.search(r"^Measured in \d+ s on CPU, .+, one thread; PyTorch", done.stdout)
    assert re.search(r"\| RTnet +\| finetune +\| +16 \| +8 \|", done.stdout)
    assert re.search(r"\| sRTnet +\| fixed_point +\| +4 \| +4 \|", done.stdout)
    assert "scaled up" in done.stdout  # no time: eight of sixteen windows
    assert re.search(r"\| Wiener +\| +0 \| +0.0 \|", done.stdout)
    assert re.search(r"\| sRTnet +\| +2 \|", done.stdout)
    assert "Recordings: 1. " in done.stdout  # only tinyRSNN is pretrained, on two
    assert "early stopping" in done.stdout


def test_systems_without_a_training(tiny):
    done = run(tiny, "Wiener", "--seconds", 0)
    assert done.exit_code == 0, done.output
    assert re.search(r"\| Wiener +\| +0 \|", done.stdout)


def test_a_training_that_fails_is_marked_and_the_others_are_kept(tiny, monkeypatch):
    def measure(decoder, stage, device, seconds):
        if type(decoder).__name__ == "RSNN":
            raise RuntimeError("out of\nmemory")
        return cost.Cost(4, 0.01, 0.001, None)

    monkeypatch.setattr(cost, "measure", measure)
    done = run(tiny, "tinyRSNN", "sRTnet", "--json")
    assert done.exit_code == 1
    rows = json.loads(done.stdout)["trainings"]
    failed = {row["system"]: row["failed"] for row in rows if "failed" in row}
    assert failed == {"tinyRSNN": "RuntimeError: out of memory"}
    assert {row["update_ms"] for row in rows if "failed" not in row} == {10}
    done = run(tiny, "tinyRSNN", "sRTnet")
    assert done.exit_code == 1
    assert "tinyRSNN, pretrain: RuntimeError: out of memory" in done.stdout
    assert re.search(r"\| sRTnet +\| fixed_point +\|", done.stdout)
    assert run(tiny, "tinyRSNN").exit_code == 1


def test_wrong_arguments_are_named(tiny, monkeypatch):
    done = run(tiny, "RTnot")
    assert done.exit_code == 1
    assert "no system 'RTnot'" in done.stderr
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = run(tiny, "RTnet", "--device", "cuda")
    assert done.exit_code == 1
    assert "torch sees no GPU" in done.stderr
