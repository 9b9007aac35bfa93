"""The frontier: rows, table and figure against plain arithmetic."""

import pandas as pd
import pytest

import handmade_results as handmade
from spikereach.config import System
from spikereach.published import figures
from spikereach.reporting.collect import collect
from spikereach.reporting.documents import metrics
from spikereach.reporting.frontier import placed
from spikereach.reporting.make import write
from spikereach.reporting.plots.frontier import frontier as drawn
from spikereach.reporting.tables.frontier import frontier as table

SYSTEMS = {
    name: System(
        architecture="any:Any", sizes={}, spiking=True, training=None, base="RTnet",
        published=name if name != "Wiener" else None,
    )
    for name in ("Wiener", "tinyRSNN", "sRTnet")
}  # fmt: skip
SEEDS = (0, 1)


def collected(folder, **more):
    return collect(handmade.write(folder, systems=SYSTEMS, seeds=SEEDS, **more))


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    return collected(tmp_path_factory.mktemp("frontier"))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    place = tmp_path_factory.mktemp("synthetic")
    return collected(place, sessions=("synthetic_indy_1",), source="synthetic")


def mean(name, key):
    runs = [(session, seed) for session in handmade.SESSIONS for seed in SEEDS]
    return sum(handmade.metrics(name, *run)[key] for run in runs) / len(runs)


def test_rows_are_ours_and_then_the_cited_ones(frame):
    rows = placed(frame, SYSTEMS)
    assert [row["system"] for row in rows[:3]] == list(SYSTEMS)
    assert {row["system"] for row in rows[3:]} == set(figures.systems())
    assert [row["r2"] for row in rows[3:]] == sorted((r["r2"] for r in rows[3:]), reverse=True)
    for row in rows[:3]:
        assert row["bytes"] == pytest.approx(mean(row["system"], "deployment_bytes"))
        assert row["origin"] == "trained here"
    wiener = rows[0]["energy_nj"] * 1e3
    assert wiener == pytest.approx(4.6 * mean("Wiener", "macs") + 0.9 * mean("Wiener", "acs"))
    rat = next(row for row in rows if row["system"] == "RAT-SNN")
    assert rat["energy_nj"] == pytest.approx(65307 * 0.9 / 1e3)
    assert (rat["bytes"], rat["pretraining"]) == (None, "103 sessions")
    assert rat["non_dominated"] is None


def test_dominance_is_among_those_trained_here(frame):
    rows = placed(frame, SYSTEMS)[:3]
    costs = ("bytes", "energy_nj", "latency_ms")
    for row in rows:
        surpassed = any(
            other["r2"] >= row["r2"] and all(other[key] <= row[key] for key in costs)
            for other in rows
            if other is not row
        )
        assert row["non_dominated"] == (not surpassed)


def test_table_marks_what_is_cited(frame, tmp_path):
    made = table(frame, SYSTEMS)
    write(made.files(), tmp_path / "frontier")
    text = (tmp_path / "frontier.md").read_text()
    line = next(line for line in text.splitlines() if "RAT-SNN " in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:4] == ["ICLR 2026", "103 sessions", "0.722"]
    assert cells[5:8] == ["0", "65,307", "58.8"]
    assert next(line for line in text.splitlines() if "tinyRSNN" in line).count(" here ") == 1
    assert "nobody trained those here" in made.caption
    assert len(made.values) == 3 + len(figures.systems())
    document = metrics([tmp_path / "frontier.csv"]).texts[".json"]
    assert "RAT-SNN" not in document, "published figures are no metrics of a run"
    assert "tinyRSNN" in document


def test_figure_holds_what_is_placed(frame, synthetic):
    plot = drawn(frame, SYSTEMS)
    assert set(plot.data["origin"]) == {"trained here", "cited"}
    rows = pd.DataFrame(placed(frame, SYSTEMS))
    assert plot.data["r2"].tolist() == rows["r2"].tolist()
    for axes, cost in zip(plot.figure.axes, ("bytes", "energy_nj"), strict=True):
        known = rows[rows["origin"] == "cited"][cost].notna().sum()
        assert len(axes.collections) - len(SYSTEMS) == known, "ours have bars, and cited ones dots"
        assert "hypervolume" in axes.get_title("left")
        assert axes.get_xscale() == "log"
    without = drawn(synthetic, SYSTEMS)
    assert set(without.data["origin"]) == {"trained here"}, "published ones are of other recordings"
