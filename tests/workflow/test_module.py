"""The workflow as a module of another one, with that one's configuration and a prefix."""

import os
import subprocess
import sys

import pytest
import yaml

from spikereach import config

SNAKEFILE = """
configfile: "config/config.yaml"

module spikereach:
    snakefile: "{snakefile}"
    config: config
    prefix: "decoders"

use rule * from spikereach as spikereach_*

rule all:
    default_target: True
    input: "decoders/paper_tables/hyperparameters.csv", "decoders/figures/buffers.csv"
"""


@pytest.fixture
def other(checkout, repository):
    """Another repository: Snakefile and configuration at their usual places, and recordings."""
    folder = checkout.folder / "other"
    (folder / "config").mkdir(parents=True)
    (folder / "workflow").mkdir()
    base, tiny = (
        yaml.safe_load(path.read_text()) for path in (repository / "config.yaml", checkout.overlay)
    )
    tiny["tables"]["hyperparameters"] = ["Wiener"]
    tiny |= {"seeds": [3], "folder": "recordings"}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config.overlay(base, tiny)))
    snakefile = checkout.folder / "workflow" / "Snakefile"
    (folder / "workflow" / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile))
    return folder


@pytest.fixture
def snakemake(checkout, other):
    """Run Snakemake there; returns the finished process."""
    python_path = os.pathsep.join(map(str, checkout.python_path))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
            cwd=other,
            env=os.environ | {"PYTHONPATH": python_path, "NO_COLOR": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return run


def test_plan_lies_under_the_prefix(snakemake):
    done = snakemake("--dry-run", "spikereach_paper")
    assert done.returncode == 0, done.stdout
    evaluate = "decoders/results/evaluate/Wiener/synthetic_indy_1/seed3/metrics.json"
    assert evaluate in done.stdout, "seed of the other configuration"
    files = [
        path
        for line in done.stdout.splitlines()
        if line.startswith(("    output: ", "    input: ", "    log: "))
        for path in line.partition(": ")[2].split(", ")
    ]
    assert len(files) > 100
    assert [path for path in files if not path.startswith("decoders/")] == []


def test_files_are_made_under_the_prefix(other, snakemake):
    done = snakemake()
    assert done.returncode == 0, done.stdout
    table = (other / "decoders" / "paper_tables" / "hyperparameters.csv").read_text()
    assert "Wiener" in table
    assert "SNN2" not in table
    for name in ("paper_tables/hyperparameters", "figures/buffers"):
        assert (other / "manifests" / "decoders" / f"{name}.manifest.json").is_file()
    made = {path.name for path in other.iterdir()} - {".snakemake", ".cache"}
    assert made == {"config", "workflow", "decoders", "manifests"}
    assert "Nothing to be done" in snakemake().stdout


def test_its_errors_are_those_of_the_workflow(other, snakemake):
    """A folder counts from the other repository, and a failed job says what is wrong."""
    path = other / "config" / "config.yaml"
    path.write_text(path.read_text().replace("source: synthetic", "source: local"))
    raw = "decoders/data/raw/synthetic_indy_1.mat"
    done = snakemake(raw)
    assert done.returncode != 0
    assert f"{other}/recordings/synthetic_indy_1.mat: no such file" in done.stdout
    (other / "recordings").mkdir()
    (other / "recordings" / "synthetic_indy_1.mat").write_bytes(b"no recording")
    done = snakemake("decoders/data/binned/synthetic_indy_1.h5")
    assert done.returncode != 0
    log = other / "decoders" / "logs" / "data" / "binned" / "synthetic_indy_1.log"
    assert raw in log.read_text()
