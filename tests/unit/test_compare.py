"""Two runs, two results, two seeds side by side: numbers against plain arithmetic, and words."""

import json
import shutil
import statistics
from pathlib import Path

import pytest
from typer.testing import CliRunner

import handmade_results as handmade
from spikereach.cli import app
from spikereach.evaluation.records import Metrics, Realtime
from spikereach.workflow.manifest import FOLDER, Manifest

SYSTEMS, SESSIONS = ("SNN2", "sRTnet"), ("indy_20160622_01", "loco_20170301_05")
ABOUT = {"system", "session", "seed", "monkey", "source", "parts", "provenance"}


@pytest.fixture
def runs(tmp_path):
    """Two runs with equal results."""
    places = tmp_path / "before", tmp_path / "after"
    for place in places:
        handmade.write(place, systems=SYSTEMS, sessions=SESSIONS, seeds=(0, 1))
    for path in places[1].rglob("realtime.json"):  # handmade wall times are drawn anew
        shutil.copy(places[0] / path.relative_to(places[1]), path)
    return places


def below(run, *names):
    return Path(run, "results", "evaluate", *names)


def change(folder, **values):
    """Of every metrics.json below a folder."""
    for path in folder.rglob("metrics.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))


def compare(*arguments):
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def rows(*arguments):
    found = json.loads(compare(*arguments, "--json"))
    return {(row["system"], row["session"], row["metric"]): row for row in found["rows"]}


def line(text, *words):
    """The words of a line behind these."""
    lines = map(str.split, text.splitlines())
    (found,) = (each for each in lines if each[: len(words)] == [*words])
    return found[len(words) :]


def fails(*arguments):
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    assert done.exit_code == 1, done.output
    (found,) = done.stderr.splitlines()
    return found


# ---- Numbers -------------------------------------------------------------------------------


def test_means_and_deviations_over_the_seeds_of_each_session(runs):
    a, b = runs
    found = rows(a, b)
    for system in SYSTEMS:
        for session in SESSIONS:
            seeds = [handmade.metrics(system, session, seed)["macs"] for seed in (0, 1)]
            row = found[system, session, "macs"]
            assert row["a"] == row["b"] == pytest.approx(statistics.mean(seeds))
            assert row["a_std"] == pytest.approx(statistics.pstdev(seeds))
            assert row["difference"] == 0


def test_difference_is_the_second_less_the_first(runs):
    a, b = runs
    seeds = [below(a, "SNN2", SESSIONS[0], f"seed{seed}") for seed in (0, 1)]
    first, second = (handmade.metrics("SNN2", SESSIONS[0], seed) for seed in (0, 1))
    row = rows(*seeds)[None, None, "acs"]
    assert (row["a"], row["b"]) == (first["acs"], second["acs"])
    assert row["difference"] == second["acs"] - first["acs"]
    assert (row["a_std"], row["b_std"]) == (None, None)
    change(below(b, "SNN2"), r2=0.25)
    row = rows(a, b)["SNN2", SESSIONS[1], "r2"]
    assert row["difference"] == pytest.approx(0.25 - row["a"])


def test_every_metric_is_there(runs):
    found = {metric for _, _, metric in rows(*runs)}
    assert found == (Metrics.model_fields.keys() | Realtime.model_fields.keys()) - ABOUT


def test_what_is_no_number_is_told_apart(runs):
    a, _ = runs
    found = rows(below(a, "SNN2"), below(a, "sRTnet"))[None, SESSIONS[0], "weight_format"]
    assert (found["a"], found["b"], found["difference"]) == ("float32", "1+1+7", None)
    text = compare(below(a, "SNN2"), below(a, "sRTnet"))
    assert line(text, "weight_format", SESSIONS[0]) == ["float32", "1+1+7", "other"]


@pytest.mark.parametrize(
    ("first", "second", "cells"),
    [
        (0.70123, 0.69, ["0.7012", "0.6900", "−0.0112"]),
        (14961.74, 14961.77, ["14,962", "14,962", "+0.03"]),
        (0.5, 0.5, ["0.5000", "0.5000", "0"]),
        (0.1 + 0.2, 0.3, ["0.3000", "0.3000", "0"]),
        (1e-7, 3e-7, ["1e−07", "3e−07", "+2e−07"]),
        (-1.5, 98765.4, ["−2", "98,765", "+98,767"]),
        (96.0, 200.0, ["96", "200", "+104"]),
        (0.0, 0.0, ["0", "0", "0"]),
    ],
)
def test_printed_numbers_have_one_precision_per_line(runs, first, second, cells):
    seeds = [below(runs[0], "SNN2", SESSIONS[0], f"seed{seed}") for seed in (0, 1)]
    for folder, value in zip(seeds, (first, second), strict=True):
        change(folder, acs=value)
    assert line(compare(*seeds), "acs") == cells


# ---- What belongs together -----------------------------------------------------------------


def test_of_runs_equal_metrics_are_only_named(runs):
    a, b = runs
    text = compare(a, b)
    assert "±" not in text
    assert "equal in both: test_steps, verified_steps, parameters, r2, " in text
    change(below(b, "SNN2", SESSIONS[0]), dense=1.0)
    text = compare(a, b)
    cells = " ".join(line(text, "dense", "SNN2", SESSIONS[0]))
    assert cells == "10,368 ± 0 1 ± 0 −10,367"
    assert line(text, "dense", "SNN2", SESSIONS[1])[-1] == "0", "the metric is whole"
    assert "±: population standard deviation over seeds" in text
    assert "equal in both: test_steps, verified_steps, parameters, r2, " in text
    assert "dense," not in text


def test_means_over_other_seeds_are_named(runs):
    before, after = runs
    assert "other seeds" not in compare(before, after)
    shutil.rmtree(below(after, "sRTnet", SESSIONS[1], "seed1"))
    told = f"means over other seeds in A than in B: sRTnet/{SESSIONS[1]}"
    assert told in compare(before, after).splitlines()
    assert "other seeds" not in compare(*(below(run, "sRTnet", SESSIONS[1]) for run in runs))


def test_what_only_one_run_has_is_named(runs):
    a, b = runs
    shutil.rmtree(below(b, "sRTnet"))
    shutil.rmtree(below(a, "SNN2", SESSIONS[0]))
    text = compare(a, b)
    assert "only in A: sRTnet\n" in text
    assert f"only in B: SNN2/{SESSIONS[0]}\n" in text
    assert "A  " + str(a) + ": 2 systems on 2 sessions, seeds 0, 1" in text
    assert {(system, session) for system, session, _ in rows(a, b)} == {("SNN2", SESSIONS[1])}


@pytest.mark.parametrize("folder", [".", "results", "results/evaluate"])
def test_a_run_is_known_by_its_results(runs, folder):
    (runs[0] / "results" / "metrics.json").write_text("{}")  # of all tables, for DVC
    assert rows(runs[0] / folder, runs[1]) == rows(*runs)


def test_sides_tell_what_they_are(runs):
    a, _ = runs
    one, other = (below(a, system, SESSIONS[1]) for system in SYSTEMS)
    text = compare(one, other / "..//" / SESSIONS[0])
    assert f"A  {one}: SNN2 on {SESSIONS[1]}, seeds 0, 1\n" in text
    assert f": sRTnet on {SESSIONS[0]}, seeds 0, 1\n" in text
    text = compare(one / "seed1", one / "seed0")
    assert f"A  {one / 'seed1'}: SNN2 on {SESSIONS[1]}, seed 1\n" in text


def test_unequal_commits_and_sources_are_one_line(runs):
    a, b = runs
    assert "different" not in compare(a, b)
    change(b, source="local", provenance={"commit": "f" * 40, "dirty": True})
    (made,) = (each for each in compare(a, b).splitlines() if "different" in each)
    assert made == (
        "made with different commit 0123456789ab (A) and ffffffffffff+ (B); source of data zenodo "
        "(A) and local (B)"
    )


def manifests(run, config, overrides):
    """As the jobs leave them that evaluated."""
    for path in run.rglob("metrics.json"):
        name = path.relative_to(run)
        conditions = {"config": config, "overrides": overrides}
        made = Manifest(rule="any", outputs={str(name): "0"}, inputs={}, conditions=conditions)
        place = run / FOLDER / name.with_suffix(".manifest.json")
        place.parent.mkdir(parents=True)
        place.write_bytes(made.text())


def test_unequal_configurations_name_the_keys(runs):
    a, b = runs
    few = {"threads": 2, "systems": {"SNN2": {"sizes": {"hidden": 50}}}}
    manifests(a, "a" * 64, few)
    assert "configuration aaaaaaaaaaaa (A) and unknown (B)\n" in compare(a, b)
    manifests(b, "b" * 64, few | {"systems": {"SNN2": {"sizes": {"hidden": 49}}}, "seeds": [0, 1]})
    (made,) = (each for each in compare(a, b).splitlines() if "different" in each)
    assert made == (
        "made with different configuration aaaaaaaaaaaa (A) and bbbbbbbbbbbb (B); settings seeds, "
        "systems.SNN2.sizes.hidden"
    )
    seed = below(b, "SNN2", SESSIONS[0], "seed0")
    assert "bbbbbbbbbbbb" in compare(below(a, "SNN2", SESSIONS[0], "seed0"), seed), "of results too"
    assert json.loads(compare(a, b, "--json"))["settings"] == ["seeds", "systems.SNN2.sizes.hidden"]


# ---- What cannot be compared ---------------------------------------------------------------


def test_bad_input_is_one_line(runs, tmp_path):
    a, b = runs
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'}: holds no results; give a run" in fails(a, tmp_path / "empty")
    assert f"{tmp_path / 'none'}: does not exist; give a run" in fails(tmp_path / "none", b)
    file = below(a, "SNN2", SESSIONS[0], "seed0", "metrics.json")
    assert f"{file}: is no folder; give" in fails(file, b)
    kinds = fails(a, below(b, "SNN2", SESSIONS[0]))
    assert f"{a} holds results of a run, " in kinds
    assert kinds.endswith("of a system on one session: give two folders of one kind")
    file.with_name("realtime.json").unlink()
    assert f"{file.with_name('realtime.json')}: does not exist" in fails(a, b)
    file.write_text("{")
    assert f"{file}: not valid JSON" in fails(file.parent, below(b, "SNN2", SESSIONS[0], "seed0"))


def test_nothing_in_common_is_said(runs, tmp_path):
    handmade.write(tmp_path / "c", systems=("ANN2", *"abcdefg"), sessions=SESSIONS[:1])
    found = fails(runs[0], tmp_path / "c")
    assert "nothing in common: SNN2, sRTnet in the first, ANN2, a, b, c, d and 3 more in" in found
    shutil.rmtree(below(runs[0], "SNN2", SESSIONS[0]))
    found = fails(below(runs[0], "SNN2"), below(tmp_path / "c", "ANN2"))
    assert f"{SESSIONS[1]} in the first, {SESSIONS[0]} in the second" in found
