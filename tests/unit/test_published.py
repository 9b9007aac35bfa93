"""The published figures in the package equal their source, and the accessors lose nothing."""

import json
import statistics
import subprocess
import sys

import pytest

from spikereach.published import figures


def test_equal_to_the_reference(shared):
    reference = json.loads((shared / "reference" / "published.json").read_text())
    assert {key: figures.load()[key] for key in reference} == reference
    assert figures.load().keys() - reference.keys() == {"cited"}


@pytest.mark.parametrize("table", ["table_coopt_track", "table_r2_track", "table_realtime"])
def test_a_system_has_what_each_table_prints(table):
    for row in figures.load()[table]:
        ours = figures.system(row["system"])
        for key, value in row.items():
            if key == "source" and ours.source != value:
                # ANN2 stands in two papers' tables, both name the same origin
                pytest.fail(f"{row['system']}: source {ours.source} is not {value}")
            assert getattr(ours, key) == value, (row["system"], key)


def test_costs_come_from_the_cost_tables():
    assert figures.system("bigRSNN").dense == 1206272
    assert figures.system("bigRSNN").acs == 45266
    assert figures.system("tinyRSNN").connection_sparsity == 0.45
    assert figures.system("tinyRSNN").acs == 304  # the table's, not the README's 213
    assert figures.system("sGRU-t1").r2_std == 0.013
    assert figures.system("AEGRU").footprint == 45520  # the leaderboard's 45,500
    assert round(figures.system("AEGRU").macs) == 25316  # about its "dense" 25,100
    assert round(figures.system("AEGRU").dense) == 54281
    assert figures.system("SNN2").connection_sparsity is None
    assert figures.system("BMnet").latency_ms == 1308
    assert figures.system("RTnet").receptive_field == 46


def test_every_system_of_the_papers_is_there():
    papers = set(
        [
            "ANN2",
            "ANN3",
            "SNN2",
            "SNN3",
            "AEGRU",
            "GRU-t1",
            "GRU-t2",
            "LIF-t1",
            "LIF-t2",
            "sGRU-t1",
            "sGRU-t2",
            "bigRSNN",
            "tinyRSNN",
            "BMnet",
            "RTnet",
            "sRTnet",
        ]
    )
    cited = {"RAT-SNN", "RAT-SNN-scratch"}
    assert set(figures.systems()) == papers | cited
    assert set(figures.untrained()) == cited


def test_cited_systems_have_what_is_reported_and_no_more():
    found = figures.system("RAT-SNN")
    assert (found.r2, found.macs, found.acs) == (0.722, 0, 65307)
    assert found.pretraining == "103 sessions"
    assert figures.system("RAT-SNN-scratch").r2 == 0.693
    assert found.footprint is None
    assert figures.system("RAT-SNN-scratch").acs is None, "not reported without pretraining"
    assert figures.citation(found.source) == "ICLR 2026"
    assert figures.citation("liu2024") == "Liu et al. 2024"
    assert all(figures.system(name).pretraining for name in figures.systems())


def test_unknown_system_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match=r"'sRTnet2'.*sRTnet"):
        figures.system("sRTnet2")


def test_per_session_both_layouts():
    seeds = figures.per_session("tinyRSNN", "r2")
    assert set(seeds) == set(figures.sessions().values())
    assert all(len(values) == 5 for values in seeds.values())
    mean = sum(sum(values) / 5 for values in seeds.values()) / 6
    assert mean == pytest.approx(figures.system("tinyRSNN").r2, abs=5e-4)

    single = figures.per_session("SNN2", "footprint")
    assert single["loco_20170210_03"] == (38848,)
    assert sum(v for (v,) in single.values()) / 6 == figures.system("SNN2").footprint
    assert figures.per_session("sRTnet", "r2") == {}
    assert figures.per_session("SNN2", "connection_sparsity") == {}
    assert figures.per_session_std("GRU-t2")["indy_20160622_01"] == pytest.approx(0.00904376)
    with pytest.raises(KeyError, match="unknown metric 'R2'"):
        figures.per_session("SNN2", "R2")


def test_small_tables():
    assert figures.realtime_rule() == (100, 10)
    ablation = figures.cortex_ablation()
    assert list(ablation) == [figures.sessions()[name] for name in ("L1", "L2", "L3")]
    assert ablation["loco_20170210_03"]["M1+S1"] == (0.639, 0.015)


def test_no_torch():
    code = (
        "import sys, spikereach.published.figures as f; f.load(); "
        "import spikereach.provenance as p; p.provenance(seed=0); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_figure_that_all_seeds_share_is_given_once():
    session = "indy_20160622_01"
    assert figures.per_session("AEGRU", "footprint")[session] == (39184,)
    assert len(figures.per_session("AEGRU", "r2")[session]) == 5
    assert figures.per_session("AEGRU", "footprint_parameters_only") == {}


def known_deviations(way):
    found = {
        (name, metric): getattr(figures.system(name), f"{metric}_std")
        for name in figures.systems()
        for metric in ("r2", "macs", "acs")
        if figures.std_over(name, metric) == way
    }
    assert None not in found.values()
    return found


def by_session(name):
    """R2 as published: session -> a value per seed, from the file itself."""
    return [entry["r2"] for entry in figures.load()["per_session"][name].values()]


def test_deviations_over_seeds_follow_from_the_seeds():
    known = known_deviations("seeds")
    assert set(known) == {("tinyRSNN", "r2"), ("bigRSNN", "r2")}
    for (name, _), printed in known.items():
        means = [statistics.mean(seed) for seed in zip(*by_session(name), strict=True)]
        assert figures.r2_by_seed(name) == pytest.approx(means)
        assert round(statistics.pstdev(means), 3) == printed


def test_deviations_over_sessions_follow_from_the_sessions():
    known = known_deviations("sessions")
    assert known == {("GRU-t2", "r2"): 0.014, ("GRU-t2", "macs"): 0, ("GRU-t2", "acs"): 0}
    printed = figures.per_session_std("GRU-t2").values()
    assert len(printed) == 6
    assert round(statistics.mean(printed), 3) == 0.014


def test_deviations_over_runs_follow_from_the_runs():
    assert known_deviations("runs") == {("AEGRU", "r2"): 0.05}
    runs = [value for seeds in by_session("AEGRU") for value in seeds]
    assert len(runs) == 30
    assert round(statistics.stdev(runs), 2) == round(statistics.pstdev(runs), 2) == 0.05
    # over seeds it is another one, and the printed mean is near the best seed's
    means = figures.r2_by_seed("AEGRU")
    assert (round(statistics.mean(means), 3), round(statistics.pstdev(means), 3)) == (0.698, 0.008)
    assert round(max(means), 2) == figures.system("AEGRU").r2 == 0.71


def test_published_sessions_have_the_printed_means():
    for name in figures.load()["per_session"].keys() - {"AEGRU"}:
        mean = statistics.mean(figures.r2_by_seed(name))
        assert mean == pytest.approx(figures.system(name).r2, abs=5e-4), name
    assert figures.r2_by_seed("sRTnet") == ()


def test_origin_of_every_published_session():
    for name in figures.load()["per_session"]:
        assert "github " in figures.per_session_origin(name)
    for seed in figures.load()["aegru_seeds"]["seeds"]:
        assert str(seed) in figures.per_session_origin("AEGRU")
    with pytest.raises(KeyError, match="sRTnet"):
        figures.per_session_origin("sRTnet")
