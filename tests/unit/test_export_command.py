"""Folders of exported decoders: written whole, over nothing else, and followed by verify."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_integers import in_fixed_point
from typer.testing import CliRunner

import markdown
import small_run
import spikereach
from spikereach import config
from spikereach.cli import app
from spikereach.data.binning import BinnedSession
from spikereach.export import folder as folders
from spikereach.export.c import FIXED
from spikereach.export.c.source import NAMES
from spikereach.export.engine import Engine
from spikereach.export.program import program
from spikereach.files import WriteError
from spikereach.identity import file_checksum
from spikereach.models import zoo
from spikereach.models.checkpoint import Checkpoint, save
from spikereach.workflow.verify import verify

FILES = {*NAMES, *FIXED, "spikes.bin", "velocities.bin", "manifest.json"}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails(*arguments):
    """The one line that a failing command prints."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    [line] = result.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def system(repository):
    found = config.read(repository / "config.yaml").systems["sRTnet"]
    sizes = found.sizes | {"kernel": 3, "conv_channels": 4, "lif_units": 5}
    return found.model_copy(update={"sizes": sizes})


@pytest.fixture(scope="module")
def checkpoint(system, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "checkpoint.safetensors"
    decoder = in_fixed_point(zoo.build(system, 6))
    save(Checkpoint(decoder, system, "sRTnet", "mine", "rex", ("M1",) * 6, 0), path)
    return path


@pytest.fixture
def exported(checkpoint, tmp_path):
    """A checkpoint and, beside it, the folder of C."""
    own = tmp_path / "checkpoint.safetensors"
    shutil.copy(checkpoint, own)
    result = run("export", own, tmp_path / "decoder", "--format", "c")
    assert result.exit_code == 0, result.output
    return tmp_path / "decoder"


def test_the_folder_says_where_it_comes_from(exported, checkpoint, system):
    assert {path.name for path in exported.iterdir()} == FILES
    told = json.loads((exported / "manifest.json").read_text())
    assert (told["system"], told["session"], told["seed"]) == ("sRTnet", "mine", 0)
    assert told["checkpoint"] == "../checkpoint.safetensors"
    assert told["checkpoint_sha256"] == file_checksum(checkpoint)
    header = (exported / "decoder.h").read_text()
    assert f"checkpoint SHA-256 {told['checkpoint_sha256']}" in header
    assert "sRTnet for mine of monkey rex, seed 0" in header
    velocities = np.frombuffer((exported / "velocities.bin").read_bytes(), "<i4").reshape(-1, 2)
    spikes = np.frombuffer((exported / "spikes.bin").read_bytes(), np.uint8).reshape(-1, 1)
    engine = Engine(program(spikereach.load_checkpoint(checkpoint).decoder))
    assert len(velocities) == 512
    bits = np.unpackbits(spikes, axis=1, bitorder="little")[:, :6]
    assert np.array_equal(engine.run(bits), velocities)


@pytest.fixture(scope="module")
def session():
    """Of six channels; the test part begins at step 900."""
    random = np.random.default_rng(0)
    spikes = (random.random((1200, 6)) < 0.2).astype(np.uint8)
    position = random.standard_normal((1200, 2)).cumsum(0).astype(np.float32)
    velocity = np.gradient(position, axis=0).astype(np.float32)
    segments = np.arange(1201, step=100).repeat(2)[1:-1].reshape(-1, 2)
    return BinnedSession("mine", "rex", spikes, velocity, position, ("M1",) * 6, 0.0, segments, {})


def test_vectors_are_of_the_test_part(checkpoint, session, tmp_path):
    session.save(tmp_path / "mine.h5")
    out = tmp_path / "decoder"
    result = run("export", checkpoint, out, "--format", "c", "--session", tmp_path / "mine.h5")
    assert result.exit_code == 0, result.output
    packed = np.packbits(session.spikes[900:], axis=1, bitorder="little")
    assert (out / "spikes.bin").read_bytes() == packed.tobytes()
    told = json.loads((out / "manifest.json").read_text())
    assert told["vectors"] == "session mine from step 900"
    line = fails("export", checkpoint, out, "--format", "nir", "--session", tmp_path / "mine.h5")
    assert "only C is compared on a session: leave it out for nir" in line


@pytest.mark.long
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc) on this machine")
def test_the_commands_of_the_document(repository, checkpoint, session, tmp_path):
    here, other, programs = (tmp_path / name for name in ("here", "other", "programs"))
    for folder in (here, other, programs):
        folder.mkdir()
    named = "results/compress/sRTnet/indy_20160622_01/seed0/checkpoint.safetensors"
    (here / named).parent.mkdir(parents=True)
    shutil.copy(checkpoint, here / named)
    (here / "data" / "binned").mkdir(parents=True)
    session.save(here / "data" / "binned" / "indy_20160622_01.h5")
    for name, does in {"scp": f'cp "$1" {other}', "ssh": f'shift; cd {other}; exec "$@"'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    [commands] = markdown.commands(repository / "docs" / "deploy.md")
    found = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=here,
        env=os.environ | {"PATH": os.pathsep.join(found)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "300 bins: all velocities agree to the last bit" in done.stdout
    assert (other / "decoder" / "build").is_dir()


def test_an_export_is_replaced_and_nothing_else(exported, checkpoint):
    before = (exported / "manifest.json").stat().st_ino
    (exported / "build").mkdir()  # of `make check`
    spikereach.export_decoder(checkpoint, exported, "onnx")
    names = {"decoder.onnx", "convolutions.onnx", "manifest.json"}
    assert {path.name for path in exported.iterdir()} == names
    assert (exported / "manifest.json").stat().st_ino != before
    (exported / "notes.txt").write_text("mine")
    line = fails("export", checkpoint, exported, "--format", "c")
    assert "decoder: holds notes.txt, which is no part of an exported decoder" in line
    assert {path.name for path in exported.iterdir()} == names | {"notes.txt"}
    assert "is no folder" in fails("export", checkpoint, checkpoint, "--format", "c")
    assert sorted(os.listdir(exported.parent)) == ["checkpoint.safetensors", "decoder"]


def test_folders_beside_it_are_left_alone(checkpoint, tmp_path):
    for name in (".decoder.tmp", ".decoder.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
        line = fails("export", checkpoint, tmp_path / "decoder", "--format", "c")
        assert f"{name}: holds notes.txt" in line
        assert os.listdir(tmp_path) == [name]
        shutil.rmtree(tmp_path / name)


def test_an_interrupt_leaves_the_earlier_folder(exported, checkpoint, monkeypatch):
    def interrupted(path, content):
        raise KeyboardInterrupt

    manifest = (exported / "manifest.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spikereach.export_decoder(checkpoint, exported, "onnx")
    assert (exported / "manifest.json").read_bytes() == manifest
    assert sorted(os.listdir(exported.parent)) == ["checkpoint.safetensors", "decoder"]


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ("float32", "Hybrid has float32 weights and fixed-point [1, 4] buffers"),
        (
            (1, 24),
            "bits and a sign, 32-bit accumulators have 31: compress the decoder",
        ),
    ],
)
def test_what_has_no_integers_is_refused_and_nothing_is_written(system, weights, told, tmp_path):
    decoder = in_fixed_point(zoo.build(system, 6), (1, 7) if weights == "float32" else weights)
    decoder.weight_format = weights
    path = tmp_path / "checkpoint.safetensors"
    save(Checkpoint(decoder, system, "sRTnet", "mine", "rex", ("M1",) * 6, 0), path)
    assert told in fails("export", path, tmp_path / "decoder", "--format", "c")
    assert os.listdir(tmp_path) == [path.name]


def test_other_decoders_are_refused_by_the_name_of_a_layer(repository, tmp_path):
    system = config.read(repository / "config.yaml").systems["ANN2"]
    path = tmp_path / "checkpoint.safetensors"
    decoder = zoo.build(system, 6).eval()
    save(Checkpoint(decoder, system, "ANN2", "mine", "rex", ("M1",) * 6, 0), path)
    line = fails("export", path, tmp_path / "decoder", "--format", "c")
    assert "ANN2 cannot be exported: it does not say what its layer fc1 (Linear) computes" in line


def test_rsnns_are_written_as_nir(repository, tmp_path):
    nir = pytest.importorskip("nir")
    system = config.read(repository / "config.yaml").systems["tinyRSNN"]
    path, out = tmp_path / "checkpoint.safetensors", tmp_path / "decoder"
    decoder = zoo.build(system, 6).eval()
    save(Checkpoint(decoder, system, "tinyRSNN", "mine", "rex", ("M1",) * 6, 0), path)
    assert run("export", path, out, "--format", "nir").exit_code == 0
    graph = nir.read(out / "decoder.nir")
    assert graph.metadata["checkpoint_sha256"] == file_checksum(path)
    assert verify(out).breaks == []


def test_a_failing_disk_leaves_the_earlier_folder(exported, checkpoint, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    manifest = (exported / "manifest.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("spikereach.export.folder.os.replace", full)
        with pytest.raises(WriteError, match=r"decoder: cannot be written .* free disk space"):
            spikereach.export_decoder(checkpoint, exported, "onnx")
    assert (exported / "manifest.json").read_bytes() == manifest
    assert sorted(os.listdir(exported.parent)) == ["checkpoint.safetensors", "decoder"]


def test_verify_finds_what_was_changed(exported):
    report = verify(exported)
    assert (report.breaks, report.files, report.jobs) == ([], len(FILES), 1)
    assert run("verify", exported).exit_code == 0
    (exported / "decoder.c").write_text("int main;")
    (exported / "main.c").unlink()
    with (exported.parent / "checkpoint.safetensors").open("ab") as file:
        file.write(b"0")
    found = {each.path: each.problem for each in verify(exported).breaks}
    assert found == {
        str(exported / "decoder.c"): "is not what was exported",
        str(exported / "main.c"): "is missing",
        str(exported / "../checkpoint.safetensors"): "is not what was exported",
    }
    result = run("verify", exported)
    assert result.exit_code == 1
    assert "These lines" not in result.output


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000])
def test_a_damaged_manifest_is_none(exported, content):
    (exported / "manifest.json").write_text(content)
    assert folders.read(exported) is None


def test_verify_follows_the_checkpoint_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_run.run_all()
    checkpoint = tmp_path / small_run.CHECKPOINT
    told = {
        "checkpoint": os.path.relpath(checkpoint, tmp_path / "decoder"),
        "checkpoint_sha256": file_checksum(checkpoint),
    }
    folders.write(tmp_path / "decoder", {"decoder.c": b""}, told)
    below, whole = verify(checkpoint), verify(tmp_path / "decoder")
    assert (whole.files, whole.jobs) == (below.files + 1, below.jobs + 1)
    assert whole.recordings == {"synthetic": 1}
    (tmp_path / small_run.BINNED).write_bytes(b"changed")
    assert [each.path for each in verify(tmp_path / "decoder").breaks] == [small_run.BINNED]
