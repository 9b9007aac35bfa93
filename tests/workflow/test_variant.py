"""docs/variant.md, done: its files and commands are taken from the document itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import markdown
from spikereach import config


@pytest.fixture
def document(repository):
    return repository / "docs" / "variant.md"


@pytest.fixture
def reader(checkout, document):
    """A checkout with the document's files; runs commands as in a shell."""
    (checkout.folder / "mine").mkdir()
    for name, text in markdown.files(document).items():
        (checkout.folder / name).write_text(text)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(command):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=checkout.folder,
            env=os.environ
            | {"PATH": programs, "PYTHONPATH": str(checkout.python_path[0]), "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    run.folder = checkout.folder
    return run


def jobs(printed, rule):
    """The wildcards of a rule's jobs in a dry run."""
    found = re.findall(
        rf"^rule {rule}:\n(?:    (?!wildcards).*\n)*    wildcards: (.*)$", printed, re.M
    )
    return {tuple(pair.partition("=")[2] for pair in each.split(", ")) for each in found}


@pytest.mark.long
def test_every_command(reader, document):
    """What is told, and by a dry run which systems are trained, on what."""
    look, one, table, paper, scratch = markdown.commands(document)
    printed = reader(look)
    for line in (
        "receptive field    76 steps",
        "latency            156 ms",
        "real time          no",
    ):
        assert line in printed

    def trained(command):
        return jobs(reader(command.replace("snakemake ", "snakemake --dry-run ")), "train_decoder")

    long = "RTnet-long"
    indy, loco = ("synthetic_indy", "synthetic_indy_1"), ("synthetic_loco", "synthetic_loco_1")
    assert trained(one) == {(long, dataset, "0") for dataset in indy}
    assert trained(table) == {
        (system, dataset, seed)
        for system in ("RTnet", long)
        for dataset in (*indy, *loco)
        for seed in "01"
    }
    assert trained(paper) == {(long, dataset, "0") for dataset in ("loco", "loco_20170301_05")}
    assert trained(scratch) == {
        (system, "loco_20170301_05", "0") for system in ("RTnet-scratch", long)
    }
    fetched = jobs(reader(scratch.replace("snakemake ", "snakemake --dry-run ")), "fetch_session")
    assert fetched == {("loco_20170301_05",)}


def test_what_starts_from_the_variant(repository, document, tmp_path):
    entry = re.findall(r"^```yaml\n(  .*?)^```$", document.read_text(), re.M | re.S)
    (tmp_path / "compressed.yaml").write_text("systems:\n" + entry[0])
    (tmp_path / "long.yaml").write_text(markdown.files(document)["mine/long.yaml"])
    paths = repository / "config.yaml", tmp_path / "long.yaml", tmp_path / "compressed.yaml"
    systems = config.read(*paths).systems
    assert systems["sRTnet-long"].sizes == systems["RTnet-long"].sizes
    assert systems["sRTnet-long"].compression == systems["sRTnet"].compression


@pytest.mark.slow
@pytest.mark.long
def test_the_row_stands_beside_the_original(reader, document):
    _, _, table, _, _ = markdown.commands(document)
    assert table.count("paper_tables/per_session.md") == 1
    targets = "paper_tables/per_session.md paper_tables/coopt.md results/config.yaml"
    command = table.replace("paper_tables/per_session.md", targets)
    (reader.folder / "both.yaml").write_text("tables: {coopt: [RTnet, RTnet-long]}\n")
    overlays = "workflow/presets/demo.yaml mine/long.yaml"
    assert command.count(overlays) == 1
    reader(command.replace(overlays, "tiny.yaml mine/long.yaml both.yaml"))
    run = reader.folder / "runs" / "long"
    assert "RTnet-long" in (run / "paper_tables" / "per_session.md").read_text()
    rows = (run / "paper_tables" / "coopt.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["system", "RTnet", "RTnet-long"]
    systems = yaml.safe_load((run / "results" / "config.yaml").read_text())["systems"]
    assert systems["RTnet-long"]["sizes"] == systems["RTnet"]["sizes"] | {"kernel": 15}
    published = dict(zip(rows[0].split(","), rows[2].split(","), strict=True))["r2_published"]
    assert published == ""
