"""Published weights through the workflow: imported and evaluated, and nothing is trained."""

import csv
import shutil
import subprocess

import pytest
import yaml


@pytest.mark.slow
@pytest.mark.parametrize(
    "systems",
    [
        ["SNN2-imported"],
        pytest.param(["SNN2-imported", "tinyRSNN-imported"], marks=pytest.mark.long),  # five seeds
    ],
)
def test_synthetic_sessions_take_the_weights_of_the_one_they_imitate(checkout, shared, systems):
    content = yaml.safe_load(checkout.overlay.read_text())
    content["sessions"] = ["synthetic_indy_2"]
    content["weights_folder"] = str(shared / "reference" / "weights")
    content["tables"] = {name: [] for name in content["tables"]} | {
        "imported": systems,
        "hyperparameters": ["RTnet", "tinyRSNN"],
    }
    checkout.overlay.write_text(yaml.safe_dump(content))
    done = checkout.snakemake("paper_tables/all.tex", "--cores", "2")
    assert done.returncode == 0, done.stdout
    assert "rule import_weights:" in done.stdout
    assert "rule train_decoder:" not in done.stdout
    tables = checkout.run_folder / "paper_tables"
    rows = list(csv.DictReader((tables / "imported.csv").read_text().splitlines()))
    assert {row["weights"] for row in rows} == {"indy_20160630_01"}
    for row in rows:
        if row["metric"] in ("footprint", "dense", "macs"):
            assert float(row["difference"]) == 0, row
        if row["metric"] == "connection_sparsity" and row["system"].startswith("tiny"):
            assert abs(float(row["difference"])) <= 1.1e-4, row
    assert "I2 on synthetic\\_indy\\_2" in (tables / "imported.tex").read_text()
    compiles(tables)


def compiles(folder):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is absent; install TeX Live to check the document")
    for _ in range(2):  # the second time for references
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
            cwd=folder, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "undefined" not in done.stdout
