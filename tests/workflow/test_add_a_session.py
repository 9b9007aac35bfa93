"""docs/add-a-session.md, done: its files and commands are taken from the document itself."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import markdown
import session_files
from spikereach import config
from spikereach.config.sessions import Session, find
from spikereach.data.binning import BinnedSession, bin_session

CHANNELS, STEPS = 96, 3000


@pytest.fixture(scope="module")
def document(repository):
    return repository / "docs" / "add-a-session.md"


@pytest.fixture(scope="module")
def arrays():
    """A recording as the document's script takes it; the last channel is silent."""
    random = np.random.default_rng(0)
    steps = np.arange(STEPS)
    return {
        "spike_times": random.uniform(3.0, 3.0 + 0.004 * STEPS, 9000),
        "spike_channels": random.integers(0, CHANNELS - 1, 9000),
        "channels": np.array(CHANNELS),
        "t": 3.0 + 0.004 * steps,
        "cursor": np.cumsum(random.normal(size=(STEPS, 2)), axis=0),
        "target": np.stack([steps // 250, steps // 500], axis=1).astype(float),
    }


def run(command, checkout):
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", f"set -e\n{command}"],
        cwd=checkout.folder,
        env=os.environ
        | {"PATH": programs, "PYTHONPATH": str(checkout.python_path[0]), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def checkout(make_checkout, tmp_path_factory, document, arrays):
    """A checkout with the document's files, and the arrays in place of two recordings."""
    checkout = make_checkout(tmp_path_factory.mktemp("add_a_session"))
    for folder in ("mine", "recordings"):
        (checkout.folder / folder).mkdir()
    for name, text in markdown.files(document).items():
        (checkout.folder / name).write_text(text)
    np.savez(checkout.folder / "rex_01.npz", **arrays)
    return checkout


@pytest.fixture(scope="module")
def write_session(document, tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "write_session.py"
    path.write_text(markdown.files(document)["mine/write_session.py"])
    spec = importlib.util.spec_from_file_location("write_session", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_session


def test_the_written_file_is_the_recording(write_session, arrays, tmp_path):
    """Equal to a file as MATLAB lays it out."""
    session = Session("rex_01", "rex", {"M1": 64, "S1": 32})
    write_session(tmp_path / "rex_01.mat", **arrays)
    own = bin_session(tmp_path / "rex_01.mat", session)
    spikes = [
        np.sort(arrays["spike_times"][arrays["spike_channels"] == channel])
        for channel in range(CHANNELS)
    ]
    assert len(spikes[-1]) == 0
    session_files.write_session(
        tmp_path / "matlab.mat", [spikes], arrays["t"], arrays["cursor"].T, arrays["target"].T
    )
    matlab = bin_session(tmp_path / "matlab.mat", session)
    assert own.spikes.sum() > 8000
    for field in ("spikes", "velocity", "position", "segments"):
        np.testing.assert_array_equal(getattr(own, field), getattr(matlab, field))
    assert len(own.segments) == STEPS // 250
    assert own.provenance["spikes_outside_t"] == matlab.provenance["spikes_outside_t"]


def test_the_configuration_describes_the_sessions(repository, document, tmp_path):
    overlay = tmp_path / "rex.yaml"
    overlay.write_text(markdown.files(document)["mine/rex.yaml"])
    read = config.read(repository / "config.yaml", overlay)
    for name in read.sessions:
        assert find(name, read.catalogue).areas == {"M1": 64, "S1": 32}
        assert find(name, read.catalogue).monkey not in read.pretrain_sessions
    pretrained = "pretrain_sessions:\n  rex: [rex_01, rex_02]\n"
    assert pretrained in document.read_text()
    overlay.write_text(overlay.read_text() + pretrained)
    assert config.read(repository / "config.yaml", overlay).pretrain_sessions["rex"]


@pytest.fixture(scope="module")
def written(checkout, document):
    """What the first commands print, which write the file."""
    done = run(markdown.commands(document)[0], checkout)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_check_prints_what_is_in_the_file(written):
    for part in (
        "rex_01 of monkey rex",
        "96 (64 M1 + 32 S1), 1 silent",
        "3,000 steps",
        "segments   12",
    ):
        assert part in written


@pytest.mark.long
def test_the_workflow_takes_the_file(checkout, document, written):
    (checkout.folder / "recordings" / "rex_02.mat").write_bytes(
        (checkout.folder / "recordings" / "rex_01.mat").read_bytes()
    )
    commands = markdown.commands(document)
    first, table = commands[1], commands[3].replace("paper_tables/coopt.tex", "data")
    for command in (first, table):
        done = run(command, checkout)
        assert done.returncode == 0, done.stdout
    assert (
        checkout.folder / "runs/rex/results/evaluate/Wiener/rex_01/seed0/metrics.json"
    ).is_file()
    for name in yaml.safe_load((checkout.folder / "mine" / "rex.yaml").read_text())["sessions"]:
        binned = BinnedSession.load(checkout.folder / "runs" / "rex" / "data/binned" / f"{name}.h5")
        assert binned.spikes.shape == (STEPS, CHANNELS)
        assert (binned.name, binned.monkey) == (name, "rex")
