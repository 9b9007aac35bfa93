"""What the system, and not a file, is to blame for: named with its remedy, and no file is called
damaged, deleted or begun anew."""

import contextlib
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from session_files import random_session
from spikereach.config.sessions import Session
from spikereach.data.binning import BinnedSession, bin_session
from spikereach.data.matfile import SessionFile
from spikereach.files import REMEDIES, ReadError, WriteError, read_error
from spikereach.models.checkpoint import load, save
from spikereach.models.zoo import build
from spikereach.published.importers import import_weights
from spikereach.reporting import predictions
from spikereach.reporting.collect import collect
from spikereach.training.state import RunState
from spikereach.workflow import manifest
from spikereach.workflow.job import one_line
from training_cases import CHANNELS, checkpoint, rsnn, stage

DAMAGED = ("damaged", "delete", "again to make", "fetch", "no checkpoint", "anew", "evaluate")


@contextlib.contextmanager
def no_files_left():
    """As in a process that has opened as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resume(path):
    decoder = build(rsnn(), CHANNELS)
    optimiser = torch.optim.Adam(decoder.parameters())
    return RunState(decoder, optimiser, torch.device("cpu"), stage(), path, "inputs")


READERS = {
    "a.mat": SessionFile,
    "a.h5": BinnedSession.load,
    "a.safetensors": load,
    "resume": resume,
    "predictions.h5": predictions.read,
    "metrics.json": lambda path: collect([path]),
    "manifest": manifest.read,
    "weights.pt": lambda path: import_weights("SNN2", path),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sound files where a reader opens more than one, or looks at its kind first."""
    folder = tmp_path_factory.mktemp("files")
    raw = random_session(folder / "a.mat", channels=2, steps=400)
    bin_session(raw, Session("a", "monkey", {"M1": 2})).save(folder / "a.h5")
    save(checkpoint(build(rsnn(), CHANNELS), rsnn()), folder / "a.safetensors")
    resume(folder / "resume").save()
    for name in READERS.keys() - {path.name for path in folder.iterdir()}:
        (folder / name).write_bytes(b"{}")
    return folder


def said(read, path):
    """What a command says of a file that cannot be read."""
    with pytest.raises(OSError) as caught:  # noqa: PT011
        read(path)
    message = one_line(caught.value)
    assert str(path) in message
    assert not [word for word in DAMAGED if word in message]
    return message


@pytest.mark.parametrize("name", READERS)
def test_too_many_open_files(folder, name):
    with contextlib.suppress(Exception):
        READERS[name](folder / name)  # imports what it needs
    with no_files_left():
        message = said(READERS[name], folder / name)
    assert "Too many open files" in message
    assert "ulimit -n" in message


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"metrics.json"}))
def test_a_disk_that_fails(name):
    """The kernel answers so where nothing is mapped."""
    message = said(READERS[name], Path("/proc/self/mem"))
    assert "Input/output error" in message
    assert "disk or network failed: run again" in message


@pytest.mark.parametrize("name", ["a.mat", "a.h5", "predictions.h5"])
def test_a_file_that_another_program_is_writing(tmp_path, name):
    path = tmp_path / name
    code = (
        "import h5py, sys; file = h5py.File(sys.argv[1], 'w'); file['a'] = 1; file.flush(); "
        "print('open', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes) as writer:
        assert writer.stdout.readline() == b"open\n"
        try:
            message = said(READERS[name], path)
        finally:
            writer.stdin.close()
    assert "another program holds it: run again when that is done" in message


@pytest.mark.parametrize("number", REMEDIES)
def test_every_such_error_has_one_remedy_for_reading_and_writing(number):
    """A file of an error without one may be damaged."""
    error = OSError(number, os.strerror(number), "a")
    remedy = REMEDIES[number]
    assert one_line(error) == f"{os.strerror(number)}: a: {remedy}"
    found = str(read_error("b", error))
    assert found == f"b: cannot be read ({os.strerror(number)}); {remedy}"
    assert remedy in str(WriteError(number, os.strerror(number), "c"))


def test_a_lack_of_memory_is_no_damage():
    assert isinstance(read_error("a", MemoryError()), ReadError)
    assert "a: cannot be read (Cannot allocate memory); free" in str(read_error("a", MemoryError()))
    assert read_error("a", ValueError()) is None
    assert read_error("a", OSError("no number")) is None
    assert read_error("a", OSError(errno.EINVAL, "Invalid argument")) is None


@pytest.mark.parametrize("arguments", [("--help",), ("check", "a.h5")])
def test_a_reader_of_the_output_that_has_enough(folder, arguments):
    """As in `spikereach ... | true`: that is no error of the disk."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code = "from spikereach.cli import app; app(prog_name='spikereach')"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1


def test_output_that_finds_no_room(folder):
    code = "from spikereach.cli import app; app(['check', 'a.h5'])"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True
        )
    expected = "error: No space left on device: standard output: free disk space and run again\n"
    assert done.stderr == expected
    assert done.returncode == 1
