"""The benchmark's bookkeeping: rows, comparisons of results, and the table."""

import dataclasses
import importlib
import json
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
        assert {*row.same, *filter(None, [row.exact])} < set(row.contenders)
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
def test_those_of_the_same_result_have_it(bench, name, arguments):
    """On a small batch: `make bench` compares those that it measures."""
    row = dataclasses.replace(bench.rows.ROWS[name], arguments=arguments)
    compared = [bench.rows.OURS, *row.same, *([row.exact] if row.exact else [])]
    jobs = {contender: row.set_up(contender) for contender in compared}

    def ask(names, *windows):
        return {contender: jobs[contender].result(*windows) for contender in names}

    found = bench.run.check(row, ask)
    assert found.keys() == {*compared} - {row.exact or bench.rows.OURS}
    assert all(each.largest <= row.tolerance for each in found.values())
    if row.exact:
        exact = jobs[row.exact].result()
        assert {each.dtype for each in exact.values()} == {np.dtype(bool), np.dtype(float)}
        some = jobs[bench.rows.OURS].result(np.array([1]))
        assert some["velocity"].shape == (arguments[2], 1, 2)


def results(bench, windows, *, flips=(), error=0.0):
    """A result whose windows go their own way from the step on in which a spike flips."""
    rng = np.random.default_rng(0)
    spikes, velocity = rng.random((20, 12, 3)) < 0.3, rng.normal(size=(20, 12, 2))
    for window in flips:
        spikes[7, window, 1] ^= True
        velocity[8:, window] += 0.5
    velocity += error
    kept = slice(None) if windows is None else windows
    spikes, velocity = spikes[:, kept], velocity[:, kept]
    gradient = velocity.sum(axis=(0, 1))
    return {bench.rows.SPIKES + "hidden": spikes, "velocity": velocity, "gradient": gradient}


@pytest.fixture
def compare(bench):
    """Of results with these flips and errors, the checks of a row compared with float64."""
    row = dataclasses.replace(
        bench.rows.ROWS["train-RTnet"], difference=bench.rows.absolute, tolerance=1e-6
    )

    def compared(ours=None, torch=None):
        def ask(names, windows=None):
            each = {bench.rows.OURS: ours, "torch": torch}
            return {n: results(bench, windows, **each.get(n) or {}) for n in names}

        return bench.run.check(row, ask)

    return compared


def test_spikes_that_flip_are_counted_on_either_side(bench, compare):
    """And their windows left out of sums over all windows, too."""
    found = compare(torch={"flips": [3]})
    assert found == {bench.rows.OURS: (0.0, 0, 12), "torch": (0.0, 1, 12)}
    found = compare(ours={"flips": [5]}, torch={"flips": [3, 4], "error": 1e-3})
    assert found[bench.rows.OURS] == (0.0, 1, 12)
    assert found["torch"].apart == 2
    # That of another library is told, and stops nothing.
    assert found["torch"].largest == pytest.approx(1e-3 * 20 * 9)


def test_flips_do_not_hide_a_difference_of_ours(compare):
    with pytest.raises(AssertionError, match="differs from that of float64"):
        compare(ours={"flips": [5], "error": 1e-4}, torch={"flips": [5]})
    with pytest.raises(AssertionError, match=r"spikes flip .* of 12: .* rounding explains fewer"):
        compare(ours={"flips": [1, 2]})
    with pytest.raises(AssertionError, match="too few are left"):
        compare(torch={"flips": range(7)})


def test_other_results_than_ours_are_an_error(bench):
    row = SimpleNamespace(
        name="x", difference=bench.rows.unequal, tolerance=0.0, same=("peer",), exact=None
    )
    ours = {"a": np.arange(4), "b": np.ones(2)}

    def check(**theirs):
        return bench.run.check(row, lambda names: {bench.rows.OURS: ours, "peer": theirs})

    assert check(**ours)["peer"].largest == 0.0
    with pytest.raises(AssertionError, match=r"a of peer differs .* by 0\.25, allowed is 0"):
        check(**ours | {"a": np.array([0, 1, 2, 4])})
    with pytest.raises(AssertionError, match="peer has other results"):
        check(a=np.arange(4))


@pytest.fixture
def bench_of_three(bench, tmp_path, monkeypatch):
    """A benchmark of three rows, of which one may fail, in a folder of its own."""
    names = ("load", "train-RTnet", "stream-Kalman")
    rows = {name: bench.rows.ROWS[name] for name in names}
    outcomes = {}

    def run(row, threads):
        if row.name in outcomes:
            raise outcomes[row.name]
        return {"medians": {}, "measurements": {}, "lines": [{"what": row.title, "ours": "fast"}]}

    for name, value in {
        "ROWS": rows,
        "run": run,
        "RESULTS": tmp_path / "results.json",
        "TABLE": tmp_path / "results.md",
    }.items():
        monkeypatch.setattr(bench.run, name, value)

    def main(*asked, **failing):
        outcomes.clear()
        outcomes.update({name.replace("_", "-"): error for name, error in failing.items()})
        monkeypatch.setattr(sys, "argv", ["run.py", *asked])
        try:
            bench.run.main()
            code = 0
        except SystemExit as end:
            code = end.code
        found = json.loads((tmp_path / "results.json").read_bytes())
        return code, found, (tmp_path / "results.md").read_text("utf-8")

    return main


@pytest.mark.parametrize(
    "error", [AssertionError("differs"), MemoryError(), OSError("no\nlibrary")]
)
def test_a_row_that_fails_is_marked_and_the_others_are_kept(bench_of_three, error):
    code, found, table = bench_of_three(train_RTnet=error)
    assert code == "failed: train-RTnet"  # which ends a process with 1
    assert list(found) == ["load", "train-RTnet", "stream-Kalman"]
    assert [name for name in found if "failed" in found[name]] == ["train-RTnet"]
    assert found["train-RTnet"]["failed"].startswith(type(error).__name__)
    assert f"| failed: {type(error).__name__}" in table
    assert table.count("fast") == 2
    code, found, table = bench_of_three("train-RTnet")
    assert code == 0
    assert "failed: " not in table
    assert table.count("fast") == 3


def test_rows_measured_before_outlive_what_ends_a_run(bench_of_three):
    """In this run and in an earlier one."""
    with pytest.raises(KeyboardInterrupt):
        bench_of_three(train_RTnet=KeyboardInterrupt())
    _, found, _ = bench_of_three("load")
    assert list(found) == ["load"]
    assert bench_of_three()[0] == 0
    with pytest.raises(KeyboardInterrupt):
        bench_of_three(load=KeyboardInterrupt())
    code, found, table = bench_of_three("load", load=ValueError())
    assert code == "failed: load"
    assert len(found) == 3
    assert table.count("fast") == 2


def test_the_table_tells_what_is_reached_and_who_is_absent(bench):
    goals = [bench.rows.Goal("p99_s", ratio, limit=100e-6) for ratio in (30, 31)]
    goals.append(bench.rows.Goal("p99_s", 30, limit=49e-6))
    row = dataclasses.replace(bench.rows.ROWS["stream-RTnet"], goals=tuple(goals))
    medians = {  # the processor was idle half of our time
        bench.rows.OURS: {"p99_s": 50e-6, "p99_cpu_s": 25e-6},
        "snntorch": {"p99_s": 1501e-6, "p99_cpu_s": 1501e-6},
    }
    equal = {"snntorch": bench.run.Difference(2e-6)}
    absent = {"norse": "ModuleNotFoundError: No module named 'norse'"}
    result = {
        "title": row.title,
        "work": row.work,
        "lines": list(bench.run.lines(row, medians, equal, absent)),
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
