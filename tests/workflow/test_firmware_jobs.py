"""The jobs that export decoders and run them on emulated microcontrollers."""

import csv
import json
import shutil

import pytest
import yaml

from spikereach.export.firmware.machines import MACHINES, missing
from spikereach.workflow.verify import verify

PLACE = "sRTnet/synthetic_indy_1/seed0"
TABLE, FIGURE = "paper_tables/deployment.csv", "figures/deployment.csv"


@pytest.fixture
def deploying(checkout):
    """With the table of the tiny sRTnet."""
    tiny = yaml.safe_load(checkout.overlay.read_text())
    tiny["tables"]["deployment"] = ["sRTnet"]
    tiny["firmware"] = {"bins": 300}
    checkout.overlay.write_text(yaml.safe_dump(tiny))
    return checkout


@pytest.mark.long
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_decoder_reaches_the_table_over_both_machines(deploying):
    done = deploying.snakemake(TABLE, FIGURE, "--cores", "2")
    assert done.returncode == 0, done.stdout
    run = deploying.run_folder
    record = json.loads((run / "results" / "firmware" / PLACE / "firmware.json").read_text())
    assert record["bins"] == 300
    assert record["machines"].keys() == MACHINES.keys()
    metrics = json.loads((run / "results" / "evaluate" / PLACE / "metrics.json").read_text())
    (row,) = csv.DictReader((run / TABLE).read_text().splitlines())
    assert float(row["r2"]) == metrics["r2"]
    for name, measured in record["machines"].items():
        for field in ("code_bytes", "stack_bytes", "instructions_median", "instructions_worst"):
            assert float(row[f"{name}_{field}"]) == measured[field]
    assert len(list((run / "manifests" / "results").glob(f"*/{PLACE}/*.json"))) == 4
    assert deploying.planned(TABLE, FIGURE) == {}
    exported = run / "results" / "export" / PLACE / "decoder.c"
    exported.write_text(exported.read_text() + "/* mine */")
    broken = [each.path for each in verify(run).breaks]
    assert f"results/export/{PLACE}/decoder.c" in broken


@pytest.mark.slow
def test_without_compilers_the_table_is_refused_and_the_run_is_not(
    deploying, monkeypatch, tmp_path
):
    (tmp_path / "bin").mkdir()
    for name in ("bash", "which"):  # which Snakemake looks for
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    done = deploying.snakemake(TABLE, "--dry-run", "--cores", "1")
    assert done.returncode != 0
    assert "firmware: null in this configuration: arm-none-eabi-gcc" in done.stdout
    done = deploying.snakemake("tables", "figures", "--dry-run", "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert "deployment" not in done.stdout
