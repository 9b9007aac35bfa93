"""The table of published weights, from hand-made results."""

import pytest

import handmade_results as handmade
from spikereach.config import read
from spikereach.published import figures
from spikereach.reporting import render
from spikereach.reporting.collect import ResultError, collect
from spikereach.reporting.tables.imported import METRICS, imported

ALL = tuple(figures.sessions().values())


@pytest.fixture(scope="module")
def systems(repository):
    config = read(repository / "config.yaml")
    return {name: config.systems[name] for name in config.tables["imported"]}


def results(folder, systems, sessions, source="zenodo"):
    paths = []
    for name in systems:
        seeds = range(1, 6) if name.startswith("tiny") else [0]
        paths += handmade.write(
            folder, systems=[name], sessions=sessions, seeds=seeds, source=source
        )
    return collect(paths)


@pytest.fixture
def table(tmp_path, systems):
    return imported(results(tmp_path, systems, ALL), systems)


def test_every_value_is_beside_its_published_figure(table):
    values = table.values[table.values["session"] != "mean"].set_index(
        ["system", "session", "metric", "rank"]
    )
    assert len(values) == 6 * (4 + 5) * len(METRICS)
    for session in ALL:
        content = handmade.metrics("SNN2-imported", session, 0)
        row = values.loc[("SNN2-imported", session, "acs", 1)]
        assert row["ours"] == content["acs"]
        assert row["published"] == figures.load()["per_session"]["SNN2"]["acs"][session]
        assert row["difference"] == row["ours"] - row["published"]


def test_seeds_are_compared_as_sets(table):
    for session in ALL:
        rows = table.values.query(
            "system == 'tinyRSNN-imported' and session == @session and metric == 'r2'"
        )
        r2 = [handmade.metrics("tinyRSNN-imported", session, seed)["r2"] for seed in range(1, 6)]
        assert list(rows["ours"]) == sorted(r2)
        assert list(rows["published"]) == sorted(figures.per_session("tinyRSNN", "r2")[session])


def test_printed_difference_is_the_largest(table):
    position = [column.group for column in table.columns].index("R²")
    ours, published, difference = table.columns[position : position + 3]
    assert [column.heading for column in (ours, published, difference)] == [
        "ours",
        "publ.",
        "diff.",
    ]
    line = table.columns[0].cells.index("tinyRSNN")
    rows = table.values.query(
        "system == 'tinyRSNN-imported' and session == @ALL[0] and metric == 'r2'"
    )
    assert ours.cells[line] == f"{rows['ours'].mean():.4f}"
    largest = max(rows["difference"], key=abs)
    assert difference.cells[line] == f"{largest:+.4f}".replace("-", "−")


def test_means_are_beside_those_of_the_papers(table):
    means = table.values[table.values["session"] == "mean"].set_index(["system", "metric"])
    assert means.loc[("ANN3-imported", "dense"), "published"] == 33888
    assert means.loc[("tinyRSNN-imported", "acs"), "published"] == 304
    expected = sum(handmade.metrics("ANN3-imported", s, 0)["r2"] for s in ALL) / 6
    assert means.loc[("ANN3-imported", "r2"), "ours"] == pytest.approx(expected)


def test_what_is_not_published_is_left_blank(table):
    rows = table.values.query("system == 'SNN2-imported' and metric == 'connection_sparsity'")
    assert rows["published"].isna().all()
    assert rows["difference"].isna().all()
    assert ",connection_sparsity,1,0." in render.csv(table)


def test_some_sessions_have_no_mean(tmp_path, systems):
    table = imported(results(tmp_path, systems, ALL[:2]), systems)
    assert set(table.values["session"]) == set(ALL[:2])
    assert "trained on other recordings" not in table.caption


def test_stand_ins_are_named(tmp_path, systems):
    sessions = ("synthetic_indy_2", "synthetic_loco_4")
    table = imported(results(tmp_path, systems, sessions, "synthetic"), systems)
    assert "(I2 on synthetic_indy_2, L1 on synthetic_loco_4)" in table.caption
    assert "synthetic" in " ".join(table.comment)
    weights = dict(zip(table.values["session"], table.values["weights"], strict=True))
    assert weights == {
        "synthetic_indy_2": "indy_20160630_01",
        "synthetic_loco_4": "loco_20170210_03",
    }


def test_absent_results_are_named(tmp_path, systems):
    some = {name: entry for name, entry in systems.items() if name != "ANN2-imported"}
    frame = results(tmp_path, some, ALL)
    with pytest.raises(ResultError, match="ANN2-imported"):
        imported(frame, systems)
    lacking = frame[(frame["system"] != "tinyRSNN-imported") | (frame["seed"] != 3)]
    with pytest.raises(ResultError, match="4 results, but 5 published"):
        imported(lacking, some)
