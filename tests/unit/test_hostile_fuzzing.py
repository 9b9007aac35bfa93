"""Readers of files meet damage and forgery of all kinds (`fuzz_readers`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_readers import READERS

SHARE = {"session": 3, "session-contiguous": 3, "session-checked": 3, "binned": 3}
"""Of the files; the other readers, which need torch, are slower."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("files", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_damaged_and_forged_files(tmp_path, reader, files):
    files *= SHARE.get(reader, 1)
    here = Path(__file__).resolve().parent
    path = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, here / "fuzz_readers.py", reader, str(files), tmp_path],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60 + files,
    )
    # A negative code is the signal that ended the process: a crash of a library.
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-4000:]}"
    outcomes = json.loads(done.stdout)
    assert sum(outcomes.values()) >= files
    assert outcomes["refused"] > files / 3
