"""A file appears whole or not at all, wherever the disk is full."""

import builtins
import errno
import os
import resource

import numpy as np
import pytest

from session_files import random_session
from spikereach import files
from spikereach.config.sessions import Session
from spikereach.data.binning import bin_session
from spikereach.files import WriteError
from spikereach.models import checkpoint
from spikereach.reporting.documents import Document
from spikereach.reporting.make import write
from training_cases import checkpoint as tiny

CONTENT = np.random.default_rng(0).bytes(5000)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "file"
    files.replace(path, b"earlier")
    return path


def untouched(path):
    return path.read_bytes() == b"earlier" and os.listdir(path.parent) == [path.name]


def test_a_file_is_replaced_whole(path):
    files.replace(path, CONTENT)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("size", [0, 1, 4096, len(CONTENT) - 1])
def test_a_disk_that_is_full_after_some_bytes(path, size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(
            WriteError, match=r"folder/file: cannot be written \(File too large"
        ) as caught:
            files.replace(path, CONTENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert untouched(path)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(params=["open", "fsync", "replace"])
def full_disk(request, monkeypatch):
    """No space at one of the calls that take some; the write itself is tested above."""
    module = builtins if request.param == "open" else os
    return lambda: monkeypatch.setattr(module, request.param, full)


def test_a_disk_that_is_full_at_any_call(path, full_disk):
    full_disk()
    with pytest.raises(WriteError, match=r"folder/file: cannot be written \(No space left"):
        files.replace(path, CONTENT)
    assert untouched(path)


def save_session(path):
    raw = random_session(path.parents[1] / "a.mat", channels=3, steps=400)
    return bin_session(raw, Session("x", "monkey", {"M1": 3})).save


WRITERS = {
    "checkpoint": lambda path: lambda p: checkpoint.save(tiny(), p),
    "session": save_session,
    "table": lambda path: lambda p: write(Document({"": "text"}).files(), p),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_names_its_file_and_leaves_the_earlier_one(path, writer, full_disk):
    save = WRITERS[writer](path)
    full_disk()
    with pytest.raises(WriteError, match="No space left on device") as caught:
        save(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert untouched(path)


def test_a_killed_attempt_is_written_over(path):
    path.with_name(".file.tmp").write_bytes(b"half a f")
    files.replace(path, CONTENT)
    assert os.listdir(path.parent) == [path.name]
