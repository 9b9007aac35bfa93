"""Cross-validation over blocks in time in the workflow: the jobs of its table."""

import csv

import pytest
import yaml

pytestmark = pytest.mark.slow

SESSION = "synthetic_indy_1"
TABLE = "paper_tables/blocked.csv"


def listing(checkout, *systems):
    content = yaml.safe_load(checkout.overlay.read_text())
    content["tables"]["blocked"] = list(systems)
    content["blocked"] = {"folds": 3, "gap_s": 0.5}
    checkout.overlay.write_text(yaml.safe_dump(content))


def test_each_fold_is_trained_and_pretrained_apart(checkout):
    """Planned only; a small run of it is in the test below."""
    listing(checkout, "tinyRSNN")
    planned = checkout.planned(TABLE)
    pretrained = {"synthetic_indy" + end for end in ("", ".fold1", ".fold2", ".fold3")}
    trained = {path.split("/")[3] for path in planned["train_decoder"]}
    assert trained == pretrained | {name.replace("indy", "indy_1") for name in pretrained}
    folds = {f"data/binned/{SESSION[:-1]}{n}.fold{k}.h5" for n in (1, 2) for k in (1, 2, 3)}
    assert set(planned["fold_session"]) == folds
    assert len(planned["bin_session"]) == 2


@pytest.mark.long
def test_the_table_is_made_and_verified(checkout):
    from spikereach.workflow.verify import verify

    listing(checkout, "Wiener", "tinyRSNN")
    done = checkout.snakemake(TABLE, "--cores", "2")
    assert done.returncode == 0, done.stdout
    rows = list(csv.DictReader((checkout.run_folder / TABLE).open()))
    assert {row["fold"] for row in rows} == {"1", "2", "3", "mean", "split"}
    assert {row["system"] for row in rows} == {"Wiener", "tinyRSNN"}
    report = verify(checkout.run_folder)
    assert not report.breaks
    assert checkout.planned(TABLE) == {}
    # Another gap makes the folds anew, and what follows from them.
    checkout.edit("tiny.yaml", "gap_s: 0.5", "gap_s: 1.0")
    planned = checkout.planned(TABLE)
    assert len(planned["fold_session"]) == 6
    assert "bin_session" not in planned
    assert not any("fold" not in path for path in planned["train_decoder"])
