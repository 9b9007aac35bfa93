"""The projection of the paper's cost: numbers of updates and runs, and a tiny one measured."""

import importlib.util
import json
import re
import sys

import numpy as np
import pytest

from spikereach import config
from spikereach.data.binning import BinnedSession
from spikereach.data.windows import Windows


@pytest.fixture(scope="module")
def budget(repository):
    spec = importlib.util.spec_from_file_location("budget", repository / "benchmarks/budget.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["budget"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def paper(repository):
    return config.read(repository / "config.yaml")


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


@pytest.mark.parametrize("system", ["tinyRSNN", "RTnet", "GRU-t2", "SNN2", "AEGRU"])
def test_updates_are_those_of_the_training_loop(budget, paper, system):
    """Windows are counted by what training cuts them with."""
    every = [run for run in budget.runs(paper) if run.system == system]
    assert every
    for run in every:
        sessions = [session(steps) for steps in run.steps]
        stage = run.stage
        windows = Windows(sessions, stage.part, run.split, ["M1"], stage.window, stage.stride)
        drawn = (stage.updates_per_epoch or 0) * stage.batch or len(windows)
        # Parts end with segments, which the projection does not know.
        assert run.updates / stage.epochs == pytest.approx(drawn / stage.batch, abs=1.5)


def test_runs_are_the_papers(budget, paper):
    """Every session and seed once per stage; pretraining once per monkey."""
    found = [run for run in budget.runs(paper) if run.system == "tinyRSNN"]
    seeds, sessions = len(paper.seeds), len(paper.sessions)

    def count(what):
        return sum(run.repetitions for run in found if run.what == what)

    assert count("pretrain") == seeds * len(paper.pretrain_sessions)
    assert count("finetune") == seeds * sessions
    # 40, 50, 60, 70 and 80 %, and 75 % once 80 % were too far.
    assert count("prune") == seeds * sessions * 6
    assert not [run for run in budget.runs(paper) if run.system in ("Wiener", "SNN2-imported")]


def test_a_tiny_projection_on_the_cpu(budget, repository, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(budget, "TIMED", 2)
    monkeypatch.setattr(budget, "PIECE", 256)
    output = tmp_path / "budget.json"
    arguments = ["--device", "cpu", "--systems", "tinyRSNN", "sRTnet", "--output", output]
    arguments += ["--config", repository / "config.yaml", repository / "tests/workflow/tiny.yaml"]
    budget.main(list(map(str, arguments)))
    result = json.loads(output.read_text())
    assert {(row["system"], row["what"]) for row in result["runs"]} == {
        ("tinyRSNN", "pretrain"),
        ("tinyRSNN", "finetune"),
        ("sRTnet", "fixed_point"),
    }
    for row in result["runs"]:
        assert row["updates"] == 2
        assert row["hours"] == pytest.approx(row["minutes_each"] * row["repetitions"] / 60)
        assert row["hours"] >= 2 * row["update_ms"] / 3.6e6 > 0
    assert re.search(r"\| sRTnet +\| fixed_point +\|", capsys.readouterr().out)


def test_a_training_that_fails_is_marked_and_the_others_are_kept(
    budget, repository, tmp_path, monkeypatch, capsys
):
    def times(run, paper, device):
        if error := outcomes.get(run.system):
            raise error
        return 0.01, 0.001

    outcomes = {"tinyRSNN": RuntimeError("out of\nmemory")}

    monkeypatch.setattr(budget, "times", times)
    output = tmp_path / "budget.json"
    configs = [repository / "config.yaml", repository / "tests/workflow/tiny.yaml"]
    arguments = ["--device", "cpu", "--output", output, "--config", *configs, "--systems"]

    def measured(*systems):
        with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
            budget.main([str(each) for each in (*arguments, *systems)])
        return ended.value, json.loads(output.read_bytes())["runs"]

    ended, rows = measured("tinyRSNN", "sRTnet")
    assert ended.code == 1
    failed = [row for row in rows if "failed" in row]
    assert {row["system"] for row in failed} == {"tinyRSNN"}
    assert {row["failed"] for row in failed} == {"RuntimeError: out of memory"}
    assert [row["update_ms"] for row in rows if row["system"] == "sRTnet"] == [10]
    out = capsys.readouterr().out
    assert "tinyRSNN, pretrain: RuntimeError: out of memory" in out
    assert re.search(r"\| sRTnet +\| fixed_point +\|", out)
    ended, rows = measured("tinyRSNN")
    assert "Nothing was measured" in capsys.readouterr().out
    outcomes["sRTnet"] = KeyboardInterrupt()
    ended, rows = measured("tinyRSNN", "sRTnet")
    assert isinstance(ended, KeyboardInterrupt)
    assert [row["what"] for row in rows] == ["pretrain", "finetune"]


def test_an_unknown_system_is_named(budget, capsys):
    with pytest.raises(SystemExit):
        budget.main(["--device", "cpu", "--systems", "RTnot"])
    assert "unknown systems: RTnot" in capsys.readouterr().err
