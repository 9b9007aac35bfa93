"""The lines that mend a run do what they say when they are pasted into a shell."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from small_run import BINNED, CHAIN, CHECKPOINT, METRICS, RAW, TABLE, run_all, run_job
from spikereach.workflow import manifest as manifests
from spikereach.workflow.mend import WHOLE, last_of
from spikereach.workflow.verify import verify

OVERRIDES = {
    "source": "local",
    "folder": "/mnt/my lab's $HOME",
    "sessions": ["20240501_01", "no"],
    "systems": {"RTnet": {"areas": ["M1 left"], "training": {"rate": 1e-7, "on": None}}},
}


@pytest.fixture
def pasted(tmp_path):
    """Runs lines in a shell, in place of Snakemake a program that tells how it was called."""
    program = tmp_path / "bin" / "snakemake"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor each in "$@"; do printf "%s\\0" "$each"; done > call\n')
    program.chmod(0o755)

    def paste(lines):
        path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
        subprocess.run(
            ["sh", "-e", "-c", "\n".join(lines)], check=True, env=os.environ | {"PATH": path}
        )
        call = Path("call").read_text("utf-8").split("\0")[:-1]
        options, targets = call[: call.index("--")], call[call.index("--") + 1 :]
        given = dict(zip(options[::2], options[1::2], strict=True))
        assert given.pop("--cores") == "2"
        return given, targets

    return paste


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run below the working directory, with a name that a shell takes apart."""
    folder = tmp_path / "my run's"
    folder.mkdir()
    monkeypatch.chdir(folder)
    run_all(**OVERRIDES)
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").touch()
    return folder


def test_a_broken_file_goes_and_is_made_with_what_rests_on_it(run, pasted):
    (run / CHECKPOINT).write_text("other", "utf-8")
    given, targets = pasted(verify(run).commands)
    assert not (run / CHECKPOINT).exists()
    assert targets == sorted([CHECKPOINT, TABLE, "figures/c.csv"])
    assert given == {"--directory": run.name, "--configfile": f"{run.name}/overrides.yaml"}
    overlay = yaml.safe_load((run / "overrides.yaml").read_text("utf-8"))
    assert overlay == OVERRIDES | {"threads": 1}


def test_a_missing_file_is_named(run, pasted):
    (run / METRICS).unlink()
    lines = verify(run).commands
    assert not any(line.startswith("rm ") for line in lines)
    assert METRICS in pasted(lines)[1]


def test_the_configuration_that_the_run_wrote_is_used(run, pasted, monkeypatch):
    monkeypatch.chdir(run)
    monkeypatch.setitem(CHAIN, "write_config", ([], [WHOLE]))
    run_job("write_config", **OVERRIDES)
    monkeypatch.chdir(run.parent)
    (run / BINNED).write_text("other", "utf-8")
    assert pasted(verify(run).commands)[0]["--configfile"] == f"{run.name}/{WHOLE}"


def test_in_the_run_folder_itself_without_overlay(run, pasted, monkeypatch):
    monkeypatch.chdir(run)
    Path("Snakefile").touch()
    monkeypatch.setattr(manifests, "overrides", lambda base, config: {})
    run_all()
    (run / BINNED).write_text("other", "utf-8")
    assert pasted(verify(run).commands)[0] == {}


def test_elsewhere_the_workflow_is_named(run, pasted, repository):
    Path("Snakefile").unlink()
    (run / BINNED).unlink()
    assert pasted(verify(run).commands)[0]["--snakefile"] == str(repository / "Snakefile")


def test_a_recording_is_checked_and_not_deleted(run, pasted):
    """One that was put there may be the only copy."""
    (run / "manifests/data/raw/synthetic_indy_1.manifest.json").write_text("{}", "utf-8")
    (broken,) = verify(run).breaks
    assert broken.problem == "the manifest is damaged"
    _, targets = pasted(verify(run).commands)
    assert (run / RAW).exists()
    assert targets == ["data/raw/synthetic_indy_1.md5"]
    assert not (run / targets[0]).exists()


def test_all_breaks_are_mended_at_once(run, pasted):
    for path in (RAW, BINNED, METRICS):
        (run / path).write_text("other", "utf-8")
    lines = verify(run).commands
    assert sum(line.startswith("rm ") for line in lines) == 1
    _, targets = pasted(lines)
    assert {RAW, BINNED, METRICS, TABLE} <= set(targets)
    assert not any((run / path).exists() for path in (RAW, BINNED, METRICS))


def test_last_of_is_one_file_of_each_job_on_which_nothing_rests(run):
    made = {}
    for path in sorted((run / "manifests").rglob("*.json")):
        manifest = manifests.read(path)
        made |= dict.fromkeys(manifest.outputs, manifest)
    assert sorted(last_of(made.keys(), made)) == ["figures/c.csv", "paper_tables/coopt.csv"]
    assert last_of([METRICS], made) == [METRICS]
    assert last_of([], made) == []
