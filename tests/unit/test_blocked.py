"""The table of cross-validation over blocks in time, against plain arithmetic."""

import csv
import json

import numpy as np
import pytest

import handmade_results as handmade
from spikereach.config import System
from spikereach.reporting import documents
from spikereach.reporting.collect import ResultError, collect
from spikereach.reporting.tables.blocked import blocked

SESSIONS = handmade.SESSIONS[:2]
SYSTEMS = {
    name: System(
        architecture="any:Any", sizes={}, areas=("M1",), spiking=True, training=None, base="RTnet"
    )
    for name in ("SNN2", "Wiener")
}


def table(folder, sessions=SESSIONS, seeds=(0, 1), systems=SYSTEMS):
    """Three folds; and R2 by system, session, seed, with None or the number of a fold."""
    names = [name + end for name in sessions for end in ("", ".fold1", ".fold2", ".fold3")]
    paths = handmade.write(folder, systems=("Wiener", "SNN2"), sessions=names, seeds=seeds)
    paths = [path for path in paths if path.name == "metrics.json"]
    found = {}
    for path in paths:
        record = json.loads(path.read_text())
        found.setdefault(record["system"], {}).setdefault(record["session"], []).append(
            record["r2"]
        )
    return blocked(collect(paths), systems, 3, 2.5), found


@pytest.mark.parametrize("sessions", [SESSIONS, SESSIONS[:1]])
@pytest.mark.parametrize("seeds", [(0, 1), (4,)])
def test_means_and_deviations(tmp_path, sessions, seeds):
    made, found = table(tmp_path, sessions, seeds)
    printed = {column.heading: column.cells for column in made.columns}
    assert printed["System"] == ["SNN2", "Wiener"]
    assert ("± over sessions" in printed) == (len(sessions) > 1)
    for row, name in enumerate(SYSTEMS):
        runs = np.array([
            [found[name][f"{session}.fold{n}"] for n in (1, 2, 3)] for session in sessions
        ])  # fmt: skip
        folds = runs.mean(2)  # (sessions, folds)
        for n in (1, 2, 3):
            assert printed[str(n)][row] == f"{folds[:, n - 1].mean():.3f}"
        spread = np.mean([np.sqrt(((each - each.mean()) ** 2).mean()) for each in folds])
        assert printed["Mean ± over folds"][row] == f"{folds.mean():.3f} ± {spread:.3f}"
        if len(sessions) > 1:
            assert printed["± over sessions"][row] == f"{folds.mean(1).std():.3f}"
        split = np.mean([found[name][session] for session in sessions], axis=0)
        std = f" ± {split.std():.3f}" if len(seeds) > 1 else ""
        assert printed["Paper's split"][row] == f"{split.mean():.3f}{std}"


def test_the_caption_says_what_was_done(tmp_path):
    made, _ = table(tmp_path)
    for text in (
        "is not the papers' protocol",
        "divided into 3 blocks",
        "2.5 s on either side",
        f"sessions {', '.join(SESSIONS)}; seeds 0, 1;",
    ):
        assert text in made.caption
    assert ".fold" not in made.caption


def test_values_tell_each_fold_and_session_apart(tmp_path):
    made, found = table(tmp_path)
    (tmp_path / "blocked.csv").write_bytes(made.files()[".csv"])
    rows = list(csv.DictReader((tmp_path / "blocked.csv").open()))
    assert len(rows) == 2 * 3 * 5
    (row,) = (
        r for r in rows if [r["system"], r["session"], r["fold"]] == ["SNN2", SESSIONS[1], "3"]
    )
    assert float(row["r2"]) == pytest.approx(np.mean(found["SNN2"][f"{SESSIONS[1]}.fold3"]))
    nested = json.loads(documents.metrics([tmp_path / "blocked.csv"]).texts[".json"])["blocked"]
    assert nested["SNN2"][SESSIONS[1]]["3"]["r2"] == float(row["r2"])
    assert nested["Wiener"]["mean"].keys() == {"1", "2", "3", "mean", "split"}


def test_a_system_without_results_is_named(tmp_path):
    with pytest.raises(ResultError, match="'ANN2'"):
        table(tmp_path, systems=SYSTEMS | {"ANN2": SYSTEMS["SNN2"]})
