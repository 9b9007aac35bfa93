"""Compiled code is kept, and made anew where what was kept is damaged."""

import errno
import hashlib
import importlib.util
import itertools
import os
import pickle

import pytest

from spikereach.ops.common import compiling

MODULE = """
from spikereach.ops.common.compiling import compiled

@compiled
def double(x):
    return 2 * x
"""


@pytest.fixture
def double(tmp_path):
    """The loop as each new process imports it."""
    (tmp_path / "looped.py").write_text(MODULE, "utf-8")
    numbers = itertools.count()

    def imported():
        name = f"looped{next(numbers)}"
        spec = importlib.util.spec_from_file_location(name, tmp_path / "looped.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.double

    return imported


def is_kept(double):
    """Whether a call finds its code; it must be right anyway."""
    assert double(21) == 42
    return bool(sum(double.stats.cache_hits.values()))


def kept(tmp_path, kind):
    [path] = (tmp_path / "__pycache__").glob(f"*.{kind}")
    return path


def signed(content):
    return content + hashlib.sha256(content).digest()


def flipped(content):
    return bytes([*content[:-100], content[-100] ^ 1, *content[-99:]])


DAMAGES = {
    "nothing, as after a full disk": lambda content: b"",
    "its start": lambda content: content[: len(content) // 2],
    "all but its end": lambda content: content[:-1],
    "zeros, as after a power failure": lambda content: bytes(len(content)),
    "one bit changed": flipped,
    "something else": lambda content: b"not a pickle",
    "another pickle": lambda content: pickle.dumps(["what?"]),
    "another pickle, well signed": lambda content: signed(pickle.dumps(("0.1", ["what?"]))),
    "what numba alone writes": lambda content: content[:-32],
}


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_compiled_anew(double, tmp_path, damage, kind):
    assert not is_kept(double())
    assert is_kept(double())
    path = kept(tmp_path, kind)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert not is_kept(double())
    assert is_kept(double())


def test_a_full_disk_is_no_error(double, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(compiling.IndexDataCacheFile, "_open_for_write", full)
    assert not is_kept(double())
    assert "No space left" in caplog.text
    assert "NUMBA_CACHE_DIR" in caplog.text


def test_where_no_folder_can_be_written(double, tmp_path, monkeypatch):
    (tmp_path / "__pycache__").write_text("no folder", "utf-8")
    monkeypatch.setenv("HOME", "/dev/null/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    assert not is_kept(double())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert not is_kept(double())
    assert is_kept(double())


def test_every_loop_is_compiled_here(repository):
    """No other `njit` with a cache of numba's own."""
    for path in (repository / "src").rglob("*.py"):
        if path.name != "compiling.py":
            assert "njit" not in path.read_text("utf-8"), path
