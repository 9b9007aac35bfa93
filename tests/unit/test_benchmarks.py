"""The benchmark's bookkeeping: rows, comparisons of results, and the table."""

import importlib
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
        for name in ("rows", "run"):
            sys.modules.pop(name, None)


class Worker:
    """Answers with fixed arrays."""

    def __init__(self, **arrays):
        self.arrays = arrays

    def ask(self, command, path):
        assert command == "result"
        np.savez(path, **self.arrays)


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


def test_other_results_than_ours_stop_the_benchmark(bench):
    row = SimpleNamespace(name="x", same=("peer",), difference=bench.rows.unequal, tolerance=0.0)
    ours = Worker(a=np.arange(4), b=np.ones(2))
    found = bench.run.check(row, {bench.rows.OURS: ours, "peer": ours})
    assert found == {"peer": 0.0}
    assert bench.run.check(row, {bench.rows.OURS: ours}) == {}  # an absent peer
    other = Worker(a=np.array([0, 1, 2, 4]), b=np.ones(2))
    with pytest.raises(AssertionError, match=r"a of peer differs by 0\.25, allowed is 0"):
        bench.run.check(row, {bench.rows.OURS: ours, "peer": other})
    with pytest.raises(AssertionError, match="peer has other results"):
        bench.run.check(row, {bench.rows.OURS: ours, "peer": Worker(a=np.arange(4))})


def test_the_table_tells_what_is_reached_and_who_is_absent(bench):
    name = "stream-RTnet"
    goal = bench.rows.Goal("p99_s", 20, limit=100e-6)

    def verdict(ours: float, theirs: float) -> dict:
        """In microseconds; the processor was idle half of our time."""
        medians = {
            bench.rows.OURS: {"p99_s": 1e-6 * ours, "p99_cpu_s": 0.5e-6 * ours},
            "snntorch": {"p99_s": 1e-6 * theirs, "p99_cpu_s": 1e-6 * theirs},
        }
        return bench.run.verdict(goal, "snntorch", medians)

    row = {
        "title": "streaming, RTnet",
        "work": "bins",
        "equal": {},
        "absent": {"norse": "ModuleNotFoundError: No module named 'norse'"},
        "verdicts": [
            verdict(50, 1500),
            verdict(50, 500),
            verdict(150, 4500),
        ],
        "machine": {"processor": "P", "load": 0.5},
        "threads": 2,
    }
    lines = [line for line in bench.run.table({name: row}).splitlines() if "RTnet |" in line]
    assert [line.split(" | ")[-2] for line in lines[:3]] == ["yes", "no", "no"]
    assert "| 50 us | snntorch | 1500 us | 30.0 | 60.0 | 20 x, at most 100 us |" in lines[0]
    assert "norse | absent: ModuleNotFoundError" in lines[3]
