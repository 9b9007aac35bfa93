"""docs/nwb.md and the preset of the benchmark, done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import markdown
import nwb_files


@pytest.mark.slow
@pytest.mark.long
def test_from_an_nwb_file_to_a_table(make_checkout, tmp_path, repository):
    document = repository / "docs" / "nwb.md"
    checkout = make_checkout(tmp_path)
    (checkout.folder / "mine").mkdir()
    for name, text in markdown.files(document).items():
        (checkout.folder / name).write_text(text)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": programs, "PYTHONPATH": str(checkout.python_path[0])}
    done = subprocess.run(
        ["bash", "-c", "set -e\n" + "\n".join(markdown.commands(document))],
        cwd=checkout.folder,
        env=os.environ | environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout
    assert "192 (96 M1 + 96 S1)" in done.stdout
    table = (checkout.folder / "runs/nwb/paper_tables/per_session.md").read_text("utf-8")
    assert "SNN2" in table


@pytest.mark.slow
@pytest.mark.long
def test_the_benchmarks_preset_makes_a_table(make_checkout, tmp_path, repository):
    checkout = make_checkout(tmp_path)
    (tmp_path / "000129" / "sub-Indy").mkdir(parents=True)
    nwb_files.mc_rtt(tmp_path / "000129" / "sub-Indy", units=130, heldout=32, seconds=60.0)
    checkout.overlay.write_text("tables: {per_session: [Wiener]}\ndevice: cpu\n")
    checkout.overlays = ["workflow/presets/recording.yaml", "workflow/presets/dandi.yaml"]
    checkout.overlays += [checkout.overlay, "--config", f"folder={tmp_path / '000129'}"]
    done = checkout.snakemake("paper_tables/per_session.tex", "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert "Wiener" in (checkout.run_folder / "paper_tables/per_session.md").read_text("utf-8")
