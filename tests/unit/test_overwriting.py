"""No command writes over what it reads, or over what is not of the kind that it makes."""

import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import all_kinds
from spikereach.cli import app
from spikereach.kinds import Kind, OverwriteError, check_overwriting, kind_of
from spikereach.models.checkpoint import load, save
from training_cases import checkpoint as tiny

OPTIONS = ("--monkey", "m", "--areas", "M1=3")
DECODE = ("decode", "{checkpoint}", "{binned}", "--out")
COMMANDS = {
    "bin": (Kind.BINNED, ("bin", "{session}", "{out}", *OPTIONS)),
    "decode": (Kind.VELOCITIES, (*DECODE, "{out}.csv")),
    "decode to HDF5": (Kind.VELOCITIES, (*DECODE, "{out}.h5")),
    "check": (Kind.FIGURE, ("check", "{binned}", "--figure", "{out}.png")),
    "view": (Kind.RESULTS_PAGE, ("view", "{results}", "--out", "{out}")),
    "import-weights": (Kind.CHECKPOINT, ("import-weights", "SNN2", "{pytorch}", "{out}")),
}
"""Command -> the kind that it makes, and its arguments. ``stream``, ``evaluate``, ``describe``,
``budget`` and ``verify`` write no file."""
SUFFIXES = {"decode": ".csv", "decode to HDF5": ".h5", "check": ".png"}
"""Of commands that ask for one."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return all_kinds.make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def call(made, tmp_path, repository, monkeypatch):
    """Run a command that writes to ``out``."""
    monkeypatch.chdir(repository)
    inputs = {
        "session": made[Kind.SESSION],
        "binned": made[Kind.BINNED],
        "checkpoint": made[Kind.CHECKPOINT],
        "results": made[Kind.RESULTS],
        "pytorch": made[Kind.PYTORCH],
    }

    def call(command, **given):
        arguments = [text.format(**(inputs | given)) for text in COMMANDS[command][1]]
        return CliRunner().invoke(app, arguments)

    return call


def contents(path):
    """All that lies at a path, with what keeps a file from being another."""
    if not path.is_dir():
        return (path.lstat().st_ino, path.is_file() and path.read_bytes())
    return {each: contents(each) for each in path.iterdir()}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.EMPTY])
@pytest.mark.parametrize("command", COMMANDS)
def test_another_kind_is_never_written_over(command, kind, made, call, tmp_path):
    if kind is COMMANDS[command][0]:
        pytest.skip("its own kind")
    suffix = SUFFIXES.get(command, ".any")
    there = tmp_path / f"out{suffix}"
    if kind is Kind.SPECIAL:
        os.mkfifo(there)
    else:
        (shutil.copytree if made[kind].is_dir() else shutil.copy)(made[kind], there)
    before = contents(tmp_path)
    done = call(command, out=there if suffix == ".any" else there.with_suffix(""))
    assert done.exit_code == 1, done.output
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {there}: is a")
    assert "give" in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["itself", "symbolic link", "hard link"])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "view"])
def test_what_is_read_is_never_written_over(command, name, made, call, tmp_path):
    """Also where it is of the kind that is made, and whatever name it is given."""
    suffix = SUFFIXES.get(command, ".any")
    read, out = tmp_path / f"read{suffix}", tmp_path / f"out{suffix}"
    shutil.copy(made[COMMANDS[command][0]], read)
    if name == "itself":
        out = read
    elif name == "symbolic link":
        out.symlink_to(read)
    else:
        out.hardlink_to(read)
    before = contents(tmp_path)
    given = {"out": out if suffix == ".any" else out.with_suffix("")}
    done = call(command, session=read, binned=read, pytorch=read, **given)
    assert done.exit_code == 1, done.output
    assert contents(tmp_path) == before
    if command != "bin":  # it takes no binned session
        assert f"{out}: is read here" in done.stderr


def test_two_recordings_given_by_a_pattern(made, call, tmp_path, monkeypatch):
    """``spikereach bin *.mat`` and ``*.h5``, with two files in the folder."""
    for kind, suffix in ((Kind.SESSION, ".mat"), (Kind.BINNED, ".h5")):
        first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        for path in (first, second):
            shutil.copy(made[kind], path)
        before = contents(tmp_path)
        done = call("bin", session=first, out=second)
        assert done.exit_code == 1
        assert ("is a session file" if kind is Kind.SESSION else "already") in done.stderr
        assert contents(tmp_path) == before


def test_results_outlive_a_page_that_is_named_like_them(made, call):
    before = contents(made[Kind.RESULTS])
    done = call("view", out=made[Kind.RESULTS] / "metrics.json")
    assert done.exit_code == 1
    assert "is a metrics file, and only a page of results" in done.stderr
    assert contents(made[Kind.RESULTS]) == before


def test_its_own_kind_is_made_anew(made, call, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        done = call("bin", out=out)
        assert done.exit_code == 0, done.output
        assert kind_of(out) is Kind.BINNED
    # ... but not of another recording: the file may be all that is left of it.
    other = shutil.copy(made[Kind.SESSION], tmp_path / "other.mat")
    before = out.read_bytes()
    done = call("bin", session=other, out=out)
    assert done.exit_code == 1
    assert f"is the binned session {made[Kind.SESSION].stem}, not other" in done.stderr
    assert out.read_bytes() == before


def test_an_empty_file_holds_nothing_to_lose(call, tmp_path):
    out = tmp_path / "out"
    out.touch()
    assert call("bin", out=out).exit_code == 0


def test_a_checkpoint_that_was_trained_outlives_an_import(shared, repository, tmp_path):
    weights = shared / "reference" / "weights" / "neurobench" / "SNN2-indy_20160622_01.pt"
    config = ("--config", str(repository / "config.yaml"))
    arguments = ("import-weights", "SNN2", str(weights), "{}", *config)
    out = tmp_path / "out.safetensors"
    for _ in range(2):  # the same once more
        done = CliRunner().invoke(app, [text.format(out) for text in arguments])
        assert done.exit_code == 0, done.output
    trained = load(out)
    trained.provenance = {"commit": "0123"}
    save(trained, out)
    before = out.read_bytes()
    done = CliRunner().invoke(app, [text.format(out) for text in arguments])
    assert done.exit_code == 1
    assert "not made from" in done.stderr
    assert out.read_bytes() == before
    save(tiny(), out)
    assert CliRunner().invoke(app, [text.format(out) for text in arguments]).exit_code == 1


def test_devices_are_not_replaced(tmp_path):
    """A terminal, and what a shell puts behind /dev/stdout."""
    code = (
        "from pathlib import Path; from spikereach.kinds import Kind, check_overwriting; "
        "check_overwriting(Path('/dev/stdout'), Kind.VELOCITIES)"
    )
    with (tmp_path / "file").open("w") as file:
        done = subprocess.run([sys.executable, "-c", code], stdout=file, stderr=subprocess.PIPE)
    assert b"OverwriteError: /dev/stdout: is a device" in done.stderr
    with pytest.raises(OverwriteError, match="/dev/null: is a device"):
        check_overwriting(tmp_path.__class__("/dev/null"), Kind.VELOCITIES)
