"""Whose lock it is that lies in a run folder."""

import platform
import subprocess
import sys

import pytest

from spikereach.workflow.runfolder import LOCKS, RunFolderError, claim, sign

PROCESS = """
import sys
from pathlib import Path
from spikereach.workflow.runfolder import LOCKS, claim, sign

holder = claim()
LOCKS.mkdir(exist_ok=True)
(LOCKS / "0.output.lock").write_text("results/a")
sign(holder)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def other():
    """A process that holds the run folder, as Snakemake does while it runs."""
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def locks():
    return [path.name for path in LOCKS.glob("*")]


def test_the_lock_of_a_living_process_stays(other):
    claim()
    assert locks() == ["0.output.lock"]


def test_the_lock_of_a_killed_process_goes(other, caplog):
    other.kill()
    other.wait()
    claim()
    assert locks() == []
    assert "0.output.lock was left by a run that was killed" in caplog.text


def test_a_second_living_process_keeps_the_lock_of_both(other):
    """Of two that make different files the first is killed, and a third comes."""
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as second:
        assert second.stdout.readline() == b"locked\n"
        other.kill()
        other.wait()
        claim()
        assert locks() == ["0.output.lock"]
        second.kill()
    claim()
    assert locks() == []


def test_the_lock_of_another_machine_stays(other, monkeypatch):
    other.kill()
    other.wait()
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    claim()
    assert locks() == ["0.output.lock"]


def test_an_unsigned_lock_stays():
    LOCKS.mkdir(parents=True)
    (LOCKS / "0.input.lock").write_text("results/a")
    claim()
    assert locks() == ["0.input.lock"]


def test_a_file_system_without_locks(other, monkeypatch):
    def unsupported(*_):
        raise OSError("no locks available")

    other.kill()
    other.wait()
    monkeypatch.setattr("fcntl.flock", unsupported)
    sign(claim())
    assert locks() == ["0.output.lock"]


def test_a_folder_that_cannot_be_written(folder):
    (folder / ".snakemake").write_text("a file")
    with pytest.raises(RunFolderError, match=rf"{folder} cannot be written .*--directory"):
        claim()


def test_a_lock_whose_holder_is_no_text_stays(folder):
    LOCKS.mkdir(parents=True)
    (LOCKS / "0.output.lock").write_text("results/a")
    (LOCKS.parent / "holder").write_bytes(b"\xff\xfe\x00")
    claim().close()
    assert list(LOCKS.iterdir())
