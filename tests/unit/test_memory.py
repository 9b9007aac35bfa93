"""The memory of the recipes on a GPU, as counted on the CPU, and the table of it."""

import importlib.util
import re
import sys

import pytest
import torch

from spikereach import config

pytest.importorskip("triton", reason="Triton is not installed")


@pytest.fixture(scope="module")
def memory(repository):
    spec = importlib.util.spec_from_file_location("memory", repository / "benchmarks/memory.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["memory"] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository / "benchmarks")
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def paper(repository):
    return config.read(repository / "config.yaml")


@pytest.fixture(scope="module")
def stated(repository):
    """System, training, batch, window, GB."""
    text = (repository / "docs" / "budget.md").read_text()
    row = r"^\| ([\w\-]+) +\| (\w+) +\| +(\d+) x (\d+) \| +([\d.]+) \|$"
    return {(s, t): (int(b), int(w), float(g)) for s, t, b, w, g in re.findall(row, text, re.M)}


def test_tensors_are_counted_while_they_live(memory):
    kilobytes = torch.zeros(250, requires_grad=True)
    with memory.Tracker() as tracker:
        doubled = kilobytes * 2
        assert tracker.now == 1000
        seen = doubled.view(10, 25)
        del doubled
        assert tracker.now == 1000, "held by its view"
        out = seen.exp().exp()
        del seen
        assert tracker.now == 2000, "the first exponential, for the second's gradient; the second"
        out.sum().backward()
        del out
    assert tracker.now == 1000, "the gradient, which outlives all"
    assert 3000 <= tracker.peak <= 5004


def test_memory_grows_by_as_much_with_every_window(memory, paper):
    system = paper.systems["RTnet"]
    stage = system.training.finetune.model_copy(update={"window": 1024})
    four, eight, twelve = (memory.peak(system, stage, 96, windows) for windows in (8, 16, 24))
    assert twelve - eight == pytest.approx(eight - four, rel=0.02)


def test_the_table_has_every_recipe_and_none_passes_the_limit(memory, paper, stated, monkeypatch):
    """Each batch is taken whole: beyond the limit it would have to be taken in parts."""
    monkeypatch.setattr(memory, "gigabytes", lambda system, stage: 0.0)
    wanted = {row[:2]: row.batch for row in memory.rows(paper, list(paper.systems))}
    assert {key: f"{batch} x {window}" for key, (batch, window, _) in stated.items()} == wanted
    assert all(gigabytes <= memory.LIMIT_GB for *_, gigabytes in stated.values())


@pytest.mark.parametrize("name", ["tinyRSNN", "ANN2", "AEGRU"])
def test_the_table_is_what_is_counted(memory, paper, stated, name):
    for row in memory.rows(paper, [name]):
        assert row.gigabytes == pytest.approx(stated[row[:2]][-1], abs=0.06)


@pytest.mark.long
def test_the_whole_table_is_what_is_counted(memory, paper, stated):
    for row in memory.rows(paper, list(paper.systems)):
        assert row.gigabytes == pytest.approx(stated[row[:2]][-1], rel=0.02, abs=0.06)
