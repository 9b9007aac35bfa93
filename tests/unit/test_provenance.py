"""Provenance: complete, JSON-like, equal when nothing changed."""

import json
import re
import subprocess

import numpy as np

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
    (tmp_path / "new.py").touch()
    assert repository_state() == (commit, True)
    (tmp_path / "new.py").unlink()
    source.write_text("changed")
    assert repository_state() == (commit, True)


def test_short_commit():
    assert short_commit("0123456789abcdef", False) == "0123456789ab"
    assert short_commit("0123456789abcdef", True) == "0123456789ab+"
    assert short_commit(None, None) == "unknown"
