"""The benchmark's bookkeeping: rows, comparisons of results, and the table."""

import dataclasses
import importlib
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from spikereach import config


@pytest.fixture(scope="module")
def bench(repository):
    """The modules `rows` and `run`, which are scripts beside the package."""
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        yield SimpleNamespace(
            rows=importlib.import_module("rows"), run=importlib.import_module("run")
        )
    finally:
        sys.path.remove(str(repository / "benchmarks"))
        for file in (repository / "benchmarks").glob("*.py"):
            sys.modules.pop(file.stem, None)


def test_goals_are_about_contenders(bench, repository):
    systems = config.read(repository / "config.yaml").systems
    for row in bench.rows.ROWS.values():
        assert bench.rows.OURS in row.contenders
        assert set(row.same) < set(row.contenders)
        assert row.goals
        for goal in row.goals:
            assert set(goal.against or ()) < set(row.contenders)
        kind, _, system = row.name.partition("-")
        assert kind == "load" or system.removesuffix("-float16") in systems
        module = importlib.import_module(row.module)
        assert all(callable(getattr(module, function)) for function in row.contenders.values())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("train-tinyRSNN", ("tinyRSNN", 4, 30)),
        ("train-bigRSNN", ("bigRSNN", 2, 8)),
        ("train-RTnet", ("RTnet", 2, 256)),
        ("metrics-SNN2", ("SNN2", 60)),
    ],
)
def test_peers_with_the_same_result_have_it(bench, name, arguments, monkeypatch):
    """On a small batch: `make bench` compares those that it measures."""
    row = dataclasses.replace(bench.rows.ROWS[name], arguments=arguments)
    ours = row.set_up(bench.rows.OURS).result()
    for peer in row.same:
        theirs = row.set_up(peer).result()
        assert ours.keys() == theirs.keys()
        assert all(row.difference(ours[key], theirs[key]) <= row.tolerance for key in ours)


def test_other_results_than_ours_stop_the_benchmark(bench):
    row = SimpleNamespace(name="x", difference=bench.rows.unequal, tolerance=0.0)
    ours = {"a": np.arange(4), "b": np.ones(2)}

    def check(**theirs):
        return bench.run.check(row, {bench.rows.OURS: ours, "peer": theirs})

    assert check(**ours)["peer"] == 0.0
    with pytest.raises(AssertionError, match=r"a of peer differs by 0\.25, allowed is 0"):
        check(**ours | {"a": np.array([0, 1, 2, 4])})
    with pytest.raises(AssertionError, match="peer has other results"):
        check(a=np.arange(4))


def test_the_table_tells_what_is_reached_and_who_is_absent(bench):
    goals = [bench.rows.Goal("p99_s", ratio, limit=100e-6) for ratio in (30, 31)]
    goals.append(bench.rows.Goal("p99_s", 30, limit=49e-6))
    row = dataclasses.replace(bench.rows.ROWS["stream-RTnet"], goals=tuple(goals))
    medians = {  # the processor was idle half of our time
        bench.rows.OURS: {"p99_s": 50e-6, "p99_cpu_s": 25e-6},
        "snntorch": {"p99_s": 1501e-6, "p99_cpu_s": 1501e-6},
    }
    absent = {"norse": "ModuleNotFoundError: No module named 'norse'"}
    result = {
        "title": row.title,
        "work": row.work,
        "lines": list(bench.run.lines(row, medians, {"snntorch": 2e-6}, absent)),
        "machine": {"processor": "P"},
        "load": 0.5,
        "threads": 2,
    }
    text = bench.run.table({row.name: result})
    lines = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if "RTnet " in line]
    assert lines[0] == [
        *("streaming, RTnet", "p99", "50 us", "snntorch", "1501 us", "30.0", "60.0"),
        *("30 x, at most 100 us", "yes", "2e-06"),
    ]
    assert [line[-2] for line in lines] == ["yes", "no", "no", ""]
    assert lines[3][3:5] == ["norse", f"absent: {absent['norse']}"]
