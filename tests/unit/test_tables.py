"""Tables: numbers against plain arithmetic, published figures, captions, bytes, LaTeX."""

import csv
import html
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pkgutil import resolve_name

import pandas as pd
import pytest
from scipy import stats

import handmade_results as handmade
from spikereach.config import System, read
from spikereach.published import figures
from spikereach.reporting import documents, render
from spikereach.reporting.collect import ResultError, collect
from spikereach.reporting.make import write
from spikereach.reporting.registry import REGISTRY
from spikereach.reporting.tables.comparisons import comparisons, paired_test
from spikereach.reporting.tables.hyperparameters import hyperparameters
from spikereach.reporting.tables.per_session import per_session
from spikereach.reporting.tables.tracks import coopt, cost, r2, realtime

COMMIT = "0123456789ab"
#: of published weights there are tests of their own
BUILDERS = {
    name: resolve_name(entry.target)
    for name, entry in REGISTRY["tables"].items()
    if entry.inputs == "results" and name != "imported"
}
SYNTHETIC = ("synthetic_indy_1", "synthetic_loco_1")


def system(published=None, spiking=True):
    return System(
        architecture="any:Any",
        sizes={},
        areas=("M1",),
        spiking=spiking,
        training=None,
        base="RTnet",
        published=published,
    )


SYSTEMS = {
    name: system(None if name == "Wiener" else name, name not in ("Wiener", "ANN2"))
    for name in handmade.SYSTEMS
}


def some(*names):
    return {name: SYSTEMS[name] for name in names}


@pytest.fixture
def frame(tmp_path):
    return collect(handmade.write(tmp_path))


def seed_means(name, key, seeds=(0, 1, 2)):
    """Mean over the sessions of each seed, from the JSON contents alone."""
    means = []
    for seed in seeds:
        values = [handmade.metrics(name, session, seed)[key] for session in handmade.SESSIONS]
        means.append(sum(values) / len(values))
    return means


def mean_and_std(values):
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))


def rows(table):
    return {row["system"]: row for row in csv.DictReader(render.csv(table).splitlines())}


def cells(table, name):
    """The printed cells of one row."""
    at = table.columns[0].cells.index(name)
    return [column.cells[at] for column in table.columns]


# ---- Collecting ------------------------------------------------------------------------


def test_collect_reads_every_run(frame):
    assert len(frame) == len(handmade.SYSTEMS) * len(handmade.SESSIONS) * 3
    first = frame[(frame["system"] == "sRTnet") & (frame["seed"] == 2)].iloc[0]
    source = handmade.metrics("sRTnet", first["session"], 2)
    assert first["macs"] == source["macs"]
    assert first["deployment_bytes"] == source["deployment_bytes"]
    assert first["weight_format"] == (1, 7)


def test_missing_key_is_named_with_its_file(tmp_path):
    paths = handmade.write(tmp_path)
    content = json.loads(paths[0].read_text())
    del content["acs"], content["macs"]
    paths[0].write_text(json.dumps(content))
    with pytest.raises(ResultError, match=rf"{paths[0]}: lacks macs, acs; delete it and evaluate"):
        collect(paths)


def test_file_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    paths = handmade.write(tmp_path)
    content = json.loads(paths[0].read_text())
    content["neurobench"] = {"effective_acs": content.pop("acs")}
    paths[0].write_text(json.dumps(content))
    with pytest.raises(
        ResultError, match=rf"^{paths[0]}: lacks acs; delete it and evaluate again$"
    ):
        collect(paths)


@pytest.mark.parametrize("change", [{"acs": "many"}, {"acs": float("inf")}, {"energy": 1.0}])
def test_field_that_does_not_belong_is_named(tmp_path, change):
    paths = handmade.write(tmp_path)
    paths[0].write_text(json.dumps(json.loads(paths[0].read_text()) | change))
    with pytest.raises(ResultError, match=rf"{paths[0]}: {next(iter(change))}: "):
        collect(paths)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [("{", "not valid JSON"), ("", "is an empty file"), ("<html>", "is a web page")],
)
def test_damaged_file_is_named(tmp_path, damage, problem):
    paths = handmade.write(tmp_path)
    paths[3].write_text(damage)
    with pytest.raises(ResultError, match=rf"{paths[3]}: {problem}"):
        collect(paths)


def test_runs_that_do_not_fit_together(tmp_path):
    paths = handmade.write(tmp_path)
    with pytest.raises(ResultError, match=r"realtime.json of ANN2/indy_20160622_01/0 is missing"):
        collect(p for p in paths if "ANN2/indy_20160622_01/seed0/realtime" not in str(p))
    with pytest.raises(
        ResultError, match=r"ANN2 with seed 0 was not evaluated on indy_20160622_01"
    ):
        collect(p for p in paths if "ANN2/indy_20160622_01/seed0" not in str(p))
    with pytest.raises(ResultError, match="given twice"):
        collect([*paths, paths[0]])
    with pytest.raises(ResultError, match="expected a file named"):
        collect([tmp_path / "history.csv"])
    with pytest.raises(ResultError, match="no result files"):
        collect([])
    other = handmade.write(tmp_path / "b", systems=["LIF-t2"], source="synthetic")
    with pytest.raises(ResultError, match=r"different data sources \(synthetic, zenodo\)"):
        collect([*paths, *other])
    with pytest.raises(ResultError, match="evaluate this system first"):
        collect([tmp_path / "none" / "metrics.json"])


def coopt_comment(paths):
    return coopt(collect(paths), SYSTEMS).comment


def test_commits_are_those_of_the_results(tmp_path):
    paths = handmade.write(tmp_path)
    assert "commit: 0123456789ab" in coopt_comment(paths)
    content = json.loads(paths[0].read_text())
    content["provenance"] = {"commit": "f" * 40, "dirty": True}
    paths[0].write_text(json.dumps(content))
    assert "commit: 0123456789ab, ffffffffffff+" in coopt_comment(paths)


# ---- Numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", handmade.SYSTEMS)
def test_coopt_numbers_equal_plain_arithmetic(frame, name):
    row = rows(coopt(frame, SYSTEMS))[name]
    for column in ("r2", "macs", "acs"):
        mean, std = mean_and_std(seed_means(name, column))
        assert float(row[column]) == pytest.approx(mean, rel=1e-12)
        assert float(row[f"{column}_std"]) == pytest.approx(std, rel=1e-9, abs=1e-12)
    assert float(row["footprint"]) == pytest.approx((21000 + 21000 + 33288) / 3)
    deployed, _ = mean_and_std(seed_means(name, "deployment_bytes"))
    assert float(row["deployment_bytes"]) == pytest.approx(deployed)
    assert row["realtime"] == str(name != "ANN2")


def test_printed_cells(frame):
    name, spiking, ours, theirs, footprint, *_ = cells(coopt(frame, SYSTEMS), "tinyRSNN")
    mean, std = mean_and_std(seed_means("tinyRSNN", "r2"))
    assert (name, spiking, footprint) == ("tinyRSNN", "yes", "25,096")
    assert ours == f"{mean:.3f} ± {std:.3f}"
    assert theirs == "0.660 ± 0.002"


def test_published_columns_equal_the_papers(frame):
    made = rows(coopt(frame, SYSTEMS))
    for printed in figures.load()["table_coopt_track"]:
        if printed["system"] not in made:
            continue
        row = made[printed["system"]]
        for key in ("r2", "r2_std", "footprint", "macs", "macs_std", "acs", "acs_std", "realtime"):
            value = row[f"{key}_published"]
            assert value == ("" if printed[key] is None else str(printed[key])), (row, key)
    timing = rows(realtime(frame, SYSTEMS))
    for printed in figures.load()["table_realtime"]:
        if printed["system"] in timing:
            for key in ("latency_ms", "execution_rate_hz", "realtime"):
                assert timing[printed["system"]][f"{key}_published"] == str(printed[key])


@pytest.mark.parametrize("table", BUILDERS)
def test_a_baseline_has_no_published_figures(frame, table):
    made = BUILDERS[table](frame, SYSTEMS)
    at = made.columns[0].cells.index("Wiener")
    assert all(c.cells[at] == "–" for c in made.columns if c.heading == "publ.")
    assert "wiener" not in made.caption.lower()


def test_one_seed_has_no_deviation(tmp_path):
    frame = collect(handmade.write(tmp_path, seeds=(0,)))
    for build in BUILDERS.values():
        table = build(frame, some("Wiener", "SNN2"))
        ours = [c.cells[0] for c in table.columns]
        assert not any("±" in cell for cell in ours)
        assert "standard deviation" not in table.caption
        assert "seed 0;" in table.caption
    row = rows(coopt(frame, SYSTEMS))["Wiener"]
    assert (row["r2_std"], row["seeds"]) == ("", "1")


def test_realtime_takes_the_worst_run(tmp_path):
    paths = handmade.write(tmp_path)
    slow = next(p for p in paths if "sRTnet" in str(p) and p.name == "realtime.json")
    changed = {"latency_ms": 104.0, "realtime": False, "lookahead_measured": 21}
    slow.write_text(json.dumps(json.loads(slow.read_text()) | changed))
    row = rows(realtime(collect(paths), SYSTEMS))["sRTnet"]
    assert (row["latency_ms"], row["realtime"], row["lookahead_measured"]) == (
        "104.0",
        "False",
        "21",
    )


def test_per_session_has_our_and_published_values(frame):
    table = per_session(frame, SYSTEMS)
    lines = list(csv.DictReader(render.csv(table).splitlines()))
    found = {(r["system"], r["origin"], r["session"]): r for r in lines}
    session = handmade.SESSIONS[2]
    ours = mean_and_std([handmade.metrics("tinyRSNN", session, seed)["r2"] for seed in range(3)])
    row = found["tinyRSNN", "ours", session]
    assert (float(row["r2"]), float(row["r2_std"])) == pytest.approx(ours)
    theirs = mean_and_std(figures.load()["per_session"]["tinyRSNN"][session]["r2"])
    row = found["tinyRSNN", "published", session]
    assert (float(row["r2"]), float(row["r2_std"])) == pytest.approx(theirs)
    # three of six sessions: the papers' mean is over others, so it is not printed
    assert found["tinyRSNN", "published", "mean"]["r2"] == ""
    assert ("sRTnet", "published", session) not in found
    assert [c.heading for c in table.columns] == [
        "System", "20160622_01", "20170131_02", "20170301_05", "Mean",
    ]  # fmt: skip
    assert [c.group for c in table.columns] == ["", "indy", "indy", "loco", ""]


ALL_SESSIONS = tuple(figures.sessions().values())


def test_published_means_are_those_of_the_published_seeds(tmp_path):
    systems = {name: system(name) for name in ("AEGRU", "GRU-t2", "tinyRSNN", "ANN2", "sRTnet")}
    frame = collect(handmade.write(tmp_path, systems=systems, sessions=ALL_SESSIONS))
    table = per_session(frame, systems)
    theirs = {}
    for at, name in enumerate(table.columns[0].cells):
        if "published" in name:
            theirs[table.columns[0].cells[at - 1]] = [c.cells[at] for c in table.columns[1:]]
    assert {name: line[-1] for name, line in theirs.items()} == {
        "AEGRU": "0.698 ± 0.008",
        "GRU-t2": "0.621 ± 0.014",
        "tinyRSNN": "0.660 ± 0.002",
        "ANN2": "0.576",
    }
    assert theirs["GRU-t2"][4] == "0.502 ± 0.034"
    mean, std = mean_and_std(figures.load()["per_session"]["AEGRU"]["loco_20170215_02"]["r2"])
    assert theirs["AEGRU"][4] == f"{mean:.3f} ± {std:.3f}"
    (note,) = table.notes
    assert "AEGRU: seeds 83, 109, 10100, 13144, 44685, comments in Bio" in note
    assert "± of AEGRU and tinyRSNN: over these seeds" in note
    assert "± of GRU-t2: as printed; of the mean, the mean of the six sessions'" in note
    assert "0.698 ± 0.008 over seeds and 0.707 at best; the paper prints 0.71 ± 0.05" in note


def test_note_names_every_published_deviation_once(tmp_path):
    names = ("Wiener", "AEGRU", "bigRSNN", "LIF-t1", "BMnet", "ANN3")
    systems = {name: system(None if name == "Wiener" else name) for name in names}
    made = r2(collect(handmade.write(tmp_path, systems=systems)), systems)
    (note,) = made.notes
    assert note == (
        "How the published ± were formed. R² of bigRSNN: over seeds, of the mean over the "
        "sessions, as ours. R² of AEGRU: over all 30 runs, five seeds on six sessions. R² of "
        "LIF-t1 and BMnet: unknown. The published seeds of AEGRU have R² 0.698 ± 0.008 over "
        "seeds and 0.707 at best; the paper prints 0.71 ± 0.05."
    )
    systems = {name: system(name) for name in ("tinyRSNN", "LIF-t2", "GRU-t2", "sRTnet")}
    made = coopt(collect(handmade.write(tmp_path / "b", systems=systems)), systems)
    assert made.notes[-1] == (
        "How the published ± were formed. R² of tinyRSNN: over seeds, of the mean over the "
        "sessions, as ours. R², MACs and ACs of GRU-t2: the mean of the six sessions' deviations "
        "over seeds. ACs of tinyRSNN; R², MACs and ACs of LIF-t2 and sRTnet: unknown."
    )


def test_no_note_without_what_it_is_about(frame, tmp_path):
    assert r2(frame, some("Wiener", "SNN2", "ANN2")).notes == ()
    assert cost(frame, some("Wiener", "SNN2", "ANN2")).notes == ()
    assert per_session(frame, some("Wiener", "sRTnet")).notes == ()
    paths = handmade.write(tmp_path / "b", sessions=SYNTHETIC, source="synthetic")
    made = per_session(collect(paths), SYSTEMS)
    assert made.notes == ()
    assert "ublished" not in made.caption


@pytest.mark.parametrize("form", [render.tex, render.markdown, render.html])
def test_notes_stand_under_the_table(frame, form):
    first, second = "A note: ± & more.", "And a second one."
    table = replace(r2(frame, SYSTEMS), notes=(first, second))
    text = html.unescape(form(table)).replace(r"\&", "&").replace(r"$\pm$", "±")
    assert text.count(first) == text.count(second) == 1
    assert text.index("Accuracy track") < text.index("tinyRSNN") < text.index(first)
    assert "\n" in text[text.index(first) : text.index(second)], "paragraphs of their own"
    split = render.tex(replace(wide(30), notes=("A note",)))
    assert split.count("A note") == 1
    assert split.index("A note") > split.rindex(r"\end{tabular}")


#: latency, look-ahead and verdict as evaluated; the numbers of Krausse et al. 2025, table III,
#: and the 26 steps of docs/assumptions.md, "Interpolation"
TIMES = {
    "Wiener": (800.0, 0, False),
    "ANN2": (200.0, 0, False),
    "SNN2": (4.0, 0, True),
    "GRU-t2": (4096.0, 1023, False),
    "RTnet": (96.0, 26, True),
    "sRTnet": (96.0, 26, True),
}


@pytest.fixture
def coopt_of(tmp_path, repository):
    """The co-optimisation table of these systems of the configuration."""
    config = read(repository / "config.yaml")

    def build(*names):
        for path in handmade.write(tmp_path / "-".join(names), systems=names):
            content = json.loads(path.read_text())
            name = content["system"]
            if path.name == "realtime.json":
                latency, ahead, verdict = TIMES[name]
                content |= {"latency_ms": latency, "lookahead_declared": ahead}
                content |= {"realtime": verdict}
            elif name in ("RTnet", "sRTnet"):
                # 75,202 parameters in float16, and in float32
                half = name == "RTnet"
                content["footprint"] = 150_404 if half else 300_808
                content["weight_format"] = "float16" if half else [1, 7]
                content["acs"] = 3260.0
            path.write_text(json.dumps(content))
        paths = (tmp_path / "-".join(names)).rglob("*.json")
        return coopt(collect(paths), {name: config.systems[name] for name in names})

    return build


def test_notes_say_what_the_co_optimisation_table_means(coopt_of):
    timing, footprint, acs, _ = coopt_of(*TIMES).notes
    assert "at most 100 ms and at least 10 predictions per second" in timing
    assert (
        "This latency is the span of all data that a prediction needs, so that history counts; of "
        "RTnet and sRTnet the paper takes half of that span and a step."
    ) in timing
    assert (
        "Wiener (800 ms) and ANN2 (200 ms) are not real-time although they look at no future. "
        "RTnet and sRTnet (96 ms) are real-time although they look 104 ms into the future: the "
        "rule leaves out the wait for the next keypoint."
    ) in timing
    assert "SNN2" not in timing
    assert "GRU" not in timing
    assert footprint.endswith(
        "The 9-bit weights of sRTnet lie in float32, at 4 bytes each, as PyTorch has no such type: "
        "2 times the bytes of RTnet in half precision."
    )
    # 8.27 spikes per step (published.json), 360 weights of the first convolution, 326 published
    assert "The ACs of sRTnet are 10 times the published ones." in acs
    assert "40 channels × 9 taps" in acs
    assert "some 2,977 at the 8.3 spikes per step" in acs
    assert "The published 326 is near 8.3 × 40" in acs


def test_notes_are_about_the_rows_that_are_there(coopt_of):
    timing, *others = coopt_of("Wiener", "SNN2").notes
    assert "Wiener (800 ms) is not real-time although it looks at no future." in timing
    assert "so that history counts. " in timing
    assert "into the future" not in timing
    assert others == []
    timing, footprint, _, _ = coopt_of("sRTnet", "SNN2").notes
    assert "sRTnet (96 ms) is real-time although it looks 104 ms into the future" in timing
    assert "although it looks at no" not in timing
    assert footprint.endswith("as PyTorch has no such type.")
    (timing, deviations) = coopt_of("RTnet").notes
    assert deviations.startswith("How the published ±")


def test_paired_test_equals_scipy_on_the_same_pairs(frame):
    pairs = [(session, seed) for session in handmade.SESSIONS for seed in range(3)]
    first = [handmade.metrics("sRTnet", *pair)["r2"] for pair in pairs]
    second = [handmade.metrics("SNN2", *pair)["r2"] for pair in pairs]
    ours = paired_test(frame, "sRTnet", "SNN2")
    theirs = stats.wilcoxon(first, second)
    assert (ours["statistic"], ours["p"]) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert (ours["pairs"], ours["sessions"]) == (9, 3)
    assert ours["mean_difference"] == pytest.approx(sum(first) / 9 - sum(second) / 9)
    assert ours["p_sessions"] in (0.25, 0.5, 0.75, 1.0)  # three pairs: nothing between
    assert paired_test(frame, "SNN2", "SNN2")["p"] == 1.0
    with pytest.raises(ResultError, match="'RTnet'"):
        paired_test(frame, "sRTnet", "RTnet")


def test_comparisons_of_a_single_system_are_an_empty_table_with_a_heading(frame):
    text = render.csv(comparisons(frame, some("Wiener")))
    assert text.startswith("first,second,pairs,")
    assert text.count("\n") == 1


def test_comparisons_table(frame):
    table = comparisons(frame, some("sRTnet", "SNN2", "Wiener"))
    assert table.columns[0].cells == ["sRTnet", "sRTnet"]
    assert table.columns[1].cells == ["SNN2", "Wiener"]
    assert list(table.values["second"]) == ["SNN2", "Wiener"]


# ---- Words -----------------------------------------------------------------------------


@pytest.mark.parametrize("table", BUILDERS)
def test_origin_in_caption_and_comment(frame, table):
    text = render.tex(BUILDERS[table](frame, SYSTEMS))
    comment, caption = text.split(r"\caption")
    for word in (*handmade.SESSIONS, COMMIT, "0, 1, 2"):
        assert word in comment
        assert render.escape(word) in caption
    assert "% source: zenodo" in comment
    assert "Zenodo record 583331" in caption
    assert "synthetic" not in text


@pytest.mark.parametrize("table", BUILDERS)
def test_synthetic_data_are_said_to_be_synthetic(tmp_path, table):
    paths = handmade.write(tmp_path, sessions=SYNTHETIC, source="synthetic")
    made = BUILDERS[table](collect(paths), SYSTEMS)
    assert "synthetic, simulated recordings and not real neurons" in made.caption
    apart = "are for the real recordings and cannot be compared with ours"
    assert (apart in made.caption) == (table not in ("comparisons", "per_session"))  # print none
    assert "source: synthetic" in made.comment


def test_seeds_that_differ_by_system_are_named(tmp_path):
    paths = handmade.write(tmp_path, systems=["SNN2"])
    paths += handmade.write(tmp_path, systems=["Wiener"], seeds=(0,))
    assert "seeds 0, 1, 2 (Wiener: 0)" in coopt(collect(paths), some("Wiener", "SNN2")).caption


def test_a_neurobench_slice_is_said(tmp_path):
    paths = handmade.write(tmp_path)
    for path in paths:
        content = json.loads(path.read_text())
        if "verified_steps" in content:
            content["verified_steps"] = 400
            path.write_text(json.dumps(content))
    assert (
        "NeuroBench itself counted at least the first 400 steps"
        in coopt(collect(paths), SYSTEMS).caption
    )


def test_missing_system_and_missing_kind(tmp_path, frame):
    with pytest.raises(ResultError, match=r"'RTnet'.*SNN2"):
        coopt(frame, {"RTnet": system()})
    (tmp_path / "b").mkdir()
    only = [p for p in handmade.write(tmp_path / "b") if p.name == "metrics.json"]
    with pytest.raises(ResultError, match=r"lack realtime.*realtime\.json"):
        coopt(collect(only), SYSTEMS)


def test_hyperparameters_come_from_the_configuration(repository):
    config = read(repository / "config.yaml")
    chosen = {name: config.systems[name] for name in config.tables["coopt"]}
    table = hyperparameters(chosen)
    values = table.values.set_index(["section", "parameter"])
    rtnet = config.systems["RTnet"]
    assert (
        values.loc[("Fine-tuning", "learning_rate"), "RTnet"]
        == rtnet.training.finetune.learning_rate
    )
    # a compressed system is trained as its base is
    assert values.loc[("Pretraining", "window"), "sRTnet"] == rtnet.training.pretrain.window
    assert values.loc[("Network", "kernel"), "sRTnet"] == rtnet.sizes["kernel"]
    assert values.loc[("Training", "starts from"), "sRTnet"] == "RTnet"
    for name, entry in chosen.items():
        for size in entry.sizes:
            assert values.loc[("Network", size), name] == entry.sizes[size]


# ---- Bytes -----------------------------------------------------------------------------


def all_tables(frame):
    made = [build(frame, SYSTEMS) for build in BUILDERS.values()]
    made.append(hyperparameters({"a_b%": system(), "RTnet": rtnet()}))
    return made


def rtnet():
    training = {"split": "liu2024", "standardise": False, "pretrain": None, "finetune": None}
    entry = system().model_dump() | {"training": training, "base": None, "sizes": {"lif_units": 56}}
    return System.model_validate(entry)


def test_bytes_are_repeatable_and_order_does_not_matter(tmp_path):
    paths = handmade.write(tmp_path)
    for folder, order in (("a", paths), ("b", paths[::-1])):
        for table in all_tables(collect(order)):
            write(table.files(), tmp_path / folder / table.name)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert len(names) == 4 * (len(BUILDERS) + 1)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_wall_times_do_not_enter(tmp_path):
    paths = handmade.write(tmp_path)
    before = [render.csv(table) for table in all_tables(collect(paths))]
    for path in paths:
        content = json.loads(path.read_text())
        if "p99_us" in content:
            path.write_text(json.dumps(content | {"p99_us": 1e9, "median_us": 1e9}))
    assert [render.csv(table) for table in all_tables(collect(paths))] == before


def wide(columns, groups=None):
    """A table of so many columns of ten digits behind a stub of two."""
    groups = groups or [""] * columns
    return render.Table(
        name="wide",
        caption="A wide table",
        comment=("source: none",),
        values=pd.DataFrame({"x": [1]}),
        columns=[
            render.Column("Key", ["a_1"], align="l"),
            render.Column("Name", ["b"], align="l"),
            *(render.Column(f"c{i}", ["1234567890"], g) for i, g in enumerate(groups)),
        ],
        stub=2,
    )


def test_wide_tables_go_on_below_themselves():
    text = render.tex(wide(30))
    pieces = text.split(r"\begin{table*}")[1:]
    assert len(pieces) == 4  # 30 columns of 40 pt, and gaps
    assert text.count(r"\caption{") == text.count(r"\label{") == 1
    assert all(r"Table~\ref{tab:wide}, continued" in piece for piece in pieces[1:])
    assert all("{c}{c" in piece and r"a\_1 & b & 1234567890" in piece for piece in pieces)
    headings = [f"{{c{i}}}" for i in range(30)]
    assert [text.count(heading) for heading in headings] == [1] * 30
    assert text.index("{c29}") > text.index("{c0}")
    assert render.tex(wide(4)).count(r"\begin{table*}") == 1


def test_groups_of_a_wide_table_stay_together():
    text = render.tex(wide(30, groups=[f"g{i // 3}" for i in range(30)]))
    for group in range(10):
        assert text.count(rf"\multicolumn{{3}}{{c}}{{g{group}}}") == 1


def test_escaping():
    assert render.escape("a_b & 50% of #1 {x} ~^\\") == (
        r"a\_b \& 50\% of \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert render.escape("R² ± –") == r"R$^2$ $\pm$ --"


def test_markdown_has_one_line_per_system(frame):
    lines = render.markdown(coopt(frame, SYSTEMS)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(SYSTEMS)
    assert len({line.count("|") for line in table}) == 1


def test_cells_of_markdown_are_text():
    column = render.Column("area", ["a|b", "<b>"], align="l")
    table = render.Table("mine", "Areas.", (), pd.DataFrame(), [column])
    assert [line for line in render.markdown(table).splitlines() if "b" in line] == [
        r"| a\|b   |", r"| \<b>   |",
    ]  # fmt: skip


def test_compiles_with_plain_pdflatex(tmp_path, frame):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is absent; install TeX Live to check the tables")
    tricky = frame.assign(commit=COMMIT + "+", system=frame["system"].replace("SNN2", "my_net.2-b"))
    systems = {n.replace("SNN2", "my_net.2-b"): s for n, s in SYSTEMS.items()}
    made = [build(tricky, systems) for build in BUILDERS.values()]
    made += [*all_tables(frame)[-1:], wide(30), wide(30, groups=[f"g{i // 3}" for i in range(30)])]
    made[-1] = replace(made[-1], name="grouped")
    for table in made:
        write(table.files(), tmp_path / "out" / table.name)
    *names, last = (table.name for table in made)
    document = documents.paper(names, where_made=[last, "not_made"])
    assert document.texts[".tex"].count("usepackage") == 1
    write(document.files(), tmp_path / "out" / "all")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "multiply defined" not in done.stdout
    assert f"({last}.tex" in done.stdout.replace("./", "")
    assert (tmp_path / "out" / "all.pdf").stat().st_size > 10_000


def test_page_of_a_table_holds_its_cells_as_text():
    names = ["<b>&", 'a"b']
    table = render.Table(
        name="page",
        caption="<script>alert(1)</script>",
        comment=(),
        values=pd.DataFrame(),
        columns=[
            render.Column("System", names, align="l"),
            render.Column("ours", ["1", "2"], "R²"),
            render.Column("publ.", ["3", "–"], "R²"),
        ],
    )
    text = render.html(table)
    assert "<script" not in text
    rows = [
        [html.unescape(cell) for cell in re.findall("<t[hd].*?>(.*?)</t[hd]>", row)]
        for row in text.partition("<table")[2].split("<tr>")[1:]
    ]
    assert rows == [
        ["", "R²"],
        ["System", "ours", "publ."],
        ["<b>&", "1", "3"],
        ['a"b', "2", "–"],
    ]
    assert 'colspan="2">R²<' in text
