"""Readers of files meet damage and forgery of all kinds (`fuzz_readers`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_readers import READERS

FILES = {"session": 600, "session-contiguous": 600, "binned": 600}
"""Files per reader; the others, which need torch, read 200."""
TIME_S = 90


@pytest.mark.parametrize("reader", READERS)
def test_damaged_and_forged_files(tmp_path, reader):
    here = Path(__file__).resolve().parent
    path = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    files = FILES.get(reader, 200)
    done = subprocess.run(
        [sys.executable, here / "fuzz_readers.py", reader, str(files), tmp_path],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIME_S,
    )
    # A negative code is the signal that ended the process: a crash of a library.
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-4000:]}"
    outcomes = json.loads(done.stdout)
    assert sum(outcomes.values()) >= files
    assert outcomes["refused"] > files / 3
