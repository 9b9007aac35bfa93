"""Published weights through the workflow: no training, and only what has weights."""

import csv
import shutil
import subprocess

import pytest
import yaml

TABLE = "paper_tables/imported.tex"


@pytest.fixture
def checkout(checkout, shared):
    content = yaml.safe_load(checkout.overlay.read_text())
    content["sessions"] = ["synthetic_indy_2"]
    content["weights_folder"] = str(shared / "reference" / "weights")
    content["tables"]["imported"] = ["SNN2-imported", "tinyRSNN-imported"]
    checkout.overlay.write_text(yaml.safe_dump(content))
    return checkout


def change(checkout, **keys):
    content = yaml.safe_load(checkout.overlay.read_text()) | keys
    checkout.overlay.write_text(yaml.safe_dump(content))


def test_nothing_is_trained(checkout):
    planned = checkout.planned(TABLE)
    assert set(planned) == {
        "fetch_session", "bin_session", "fetch_weights", "import_weights", "evaluate_decoder",
        "write_table",
    }  # fmt: skip
    assert set(planned["fetch_weights"]) == {
        "data/weights/SNN2/indy_20160630_01.pt",
        *(f"data/weights/tinyRSNN/indy_20160630_01-seed{seed}.pth" for seed in range(1, 6)),
    }
    assert len(planned["import_weights"]) == 6


def test_all_files_are_used_on_the_six_sessions(checkout):
    change(checkout, tables={"imported": [f"{name}-imported" for name in
           ("ANN2", "ANN3", "SNN2", "SNN3", "tinyRSNN")]}, source="zenodo",
           sessions=["indy_20160622_01", "indy_20160630_01", "indy_20170131_02",
                     "loco_20170210_03", "loco_20170215_02", "loco_20170301_05"])  # fmt: skip
    planned = checkout.planned(TABLE)
    assert len(planned["import_weights"]) == len(set(planned["fetch_weights"])) == 54
    assert "train_decoder" not in planned


def test_sessions_without_weights_are_left_out(checkout):
    change(checkout, source="zenodo", sessions=["indy_20160622_01", "indy_20160624_03"])
    planned = checkout.planned(TABLE)
    assert not [path for path in planned["import_weights"] if "20160624" in path]
    change(checkout, source="zenodo", sessions=["indy_20160624_03"])
    assert "import_weights" not in checkout.planned("tables")


def test_unpublished_weights_are_an_error(checkout):
    folder = "results/import/tinyRSNN-imported/synthetic_indy_2/seed{}/checkpoint.safetensors"
    for target, parts in {
        folder.format(0): ["no published weights for synthetic_indy_2 seed 0", "seed 5"],
        folder.format(1).replace("-imported", ""): ["systems.tinyRSNN has no published `weights`"],
    }.items():
        done = checkout.snakemake(target, "--dry-run", "--cores", "1")
        assert done.returncode != 0
        for part in parts:
            assert part in done.stdout


def test_table_without_systems_is_not_written(checkout):
    assert "paper_tables/r2.tex" not in str(checkout.planned("tables"))
    done = checkout.snakemake("paper_tables/r2.tex", "--dry-run", "--cores", "1")
    assert done.returncode != 0
    assert "tables.r2 lists no systems" in done.stdout


@pytest.mark.slow
def test_synthetic_sessions_take_the_weights_of_the_one_they_imitate(checkout):
    tables = yaml.safe_load(checkout.overlay.read_text())["tables"]
    empty = {name: [] for name in tables}
    kept = {"imported": tables["imported"], "hyperparameters": ["RTnet", "tinyRSNN"]}
    change(checkout, tables=empty | kept)
    assert "train_decoder" not in checkout.planned("paper_tables/all.tex")
    done = checkout.snakemake("paper_tables/all.tex", "--cores", "2")
    assert done.returncode == 0, done.stdout
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
