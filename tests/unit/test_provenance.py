"""Provenance: complete, JSON-like, equal when nothing changed."""

import json
import os
import re
import subprocess

import numpy as np
import pytest

from spikereach import provenance as module
from spikereach.provenance import provenance, repository_state, short_commit


def test_complete_and_repeatable(repository):
    first = provenance(seed=0, device="cpu", config="ab12", data={"x.mat": "c33d"})
    assert first["inputs"] == {
        "seed": 0,
        "device": "cpu",
        "config": "ab12",
        "data": {"x.mat": "c33d"},
    }
    assert first["packages"]["numpy"] == np.__version__
    head = subprocess.run(
        ["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    assert first["commit"] == (head or None)
    assert json.loads(json.dumps(first)) == first
    assert provenance(data={"x.mat": "c33d"}, config="ab12", seed=0, device="cpu") == first


def test_outside_a_checkout_the_commit_is_none(tmp_path, monkeypatch):
    # an installed copy inside a foreign repository must not claim that repository's commit
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "provenance.py").write_text("")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "provenance.py"))
    assert repository_state() == (None, None)


def test_state_of_a_checkout(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    source = tmp_path / "provenance.py"
    source.write_text("")
    git("init", "-q")
    git("add", "provenance.py")
    git("commit", "-q", "-m", "x")
    monkeypatch.setattr(module, "__file__", str(source))
    commit, dirty = repository_state()
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert dirty is False
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "metrics.json").write_text("{}")
    (tmp_path / "dvc.lock").write_text("")
    assert repository_state() == (commit, False), "results of the run are no changes to the code"
    source.write_text("changed")
    assert repository_state() == (commit, True)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("src/spikereach/new.py", True),
        ("workflow/rules/new.smk", True),
        ("workflow/presets/mine.yaml", False),
        ("mine/leaky_spikes.py", False),
        ("mine/rex.yaml", False),
        ("recordings/rex_01.mat", False),
        ("runs/mine/results/metrics.json", False),
        ("notes.txt", False),
        ("docs/notes.md", False),
    ],
)
def test_which_untracked_files_are_part_of_what_runs(checkout, path, counts):
    folder, git = checkout
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text("", "utf-8")
    assert repository_state()[1] is counts
    git("add", path)
    assert repository_state()[1] is True
    git("commit", "-q", "-m", "mine")
    assert repository_state()[1] is False


def test_what_a_user_has_git_leave_out_counts_and_what_the_checkout_does_not(checkout):
    folder, _ = checkout
    new = folder / "src" / "spikereach" / "new.py"
    new.parent.mkdir(parents=True)
    new.write_text("", "utf-8")
    (folder / ".git" / "info" / "exclude").write_text("new.py\n", "utf-8")
    assert repository_state()[1] is True
    (folder / ".gitignore").write_text("new.py\n", "utf-8")
    assert repository_state()[1] is False


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """One commit with the module in it; a function that runs git there with plain settings."""
    plain = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    folder = tmp_path / "checkout"

    def git(*arguments, folder=folder):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", "-C", folder, *identity, *arguments]
        return subprocess.run(command, check=True, env=plain, stdout=subprocess.PIPE).stdout

    folder.mkdir()
    (folder / "provenance.py").write_text("", "utf-8")
    git("init", "-q")
    git("add", "provenance.py")
    git("commit", "-q", "-m", "x")
    monkeypatch.setattr(module, "__file__", str(folder / "provenance.py"))
    return folder, git


SETTINGS = """\
[status]
    showUntrackedFiles = no
[core]
    excludesFile = {home}/ignored
    fsmonitor = {home}/monitor
    quotePath = false
[safe]
    directory = /nowhere
"""


def test_settings_of_git_do_not_reach_what_is_recorded(checkout, tmp_path, monkeypatch):
    """Those of the user, and those that a hook or another project leaves in the environment."""
    folder, git = checkout
    home, other = tmp_path / "home", tmp_path / "other"
    (home / ".config" / "git").mkdir(parents=True)
    other.mkdir()
    git("init", "-q", folder=other)
    git("commit", "-q", "--allow-empty", "-m", "another", folder=other)
    (folder / "src").mkdir()
    (folder / "src" / "notes.txt").touch()
    expected = repository_state()
    assert expected[1] is True
    (home / ".gitconfig").write_text(SETTINGS.format(home=home), "utf-8")
    for ignoring in (home / "ignored", home / ".config" / "git" / "ignore"):
        ignoring.write_text("notes.txt\n", "utf-8")
    (home / "monitor").write_text("#!/bin/sh\nsleep 600\n", "utf-8")
    (home / "monitor").chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert repository_state() == expected
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": other / ".git" / "index",
        "GIT_CEILING_DIRECTORIES": tmp_path,
        "GIT_CONFIG_PARAMETERS": "'status.showuntrackedfiles'='no'",
        "GIT_LITERAL_PATHSPECS": "1",
    }.items():
        monkeypatch.setenv(name, str(value))
        assert repository_state() == expected, name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_whoever_owns_the_checkout(checkout):
    """As in a container, where the mounted checkout is somebody else's."""
    folder, _ = checkout
    expected = repository_state()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 12345, 12345)
    assert repository_state() == expected


def test_short_commit():
    assert short_commit("0123456789abcdef", False) == "0123456789ab"
    assert short_commit("0123456789abcdef", True) == "0123456789ab+"
    assert short_commit(None, None) == "unknown"
