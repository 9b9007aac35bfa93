"""The beginning of docs/recording.md, done: every reader has what it needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import markdown


@pytest.mark.slow
@pytest.mark.long
def test_a_reader_without_a_recording(make_checkout, tmp_path, repository):
    document = repository / "docs" / "recording.md"
    checkout = make_checkout(tmp_path)
    (checkout.folder / "mine").mkdir()
    for name, text in markdown.files(document).items():
        (checkout.folder / name).write_text(text)
    made, decoded = markdown.commands(document)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": programs, "PYTHONPATH": str(checkout.python_path[0])}
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{made}\n{decoded}"],
        cwd=checkout.folder,
        env=os.environ | environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout
    assert "rex_01 of monkey rex" in done.stdout
    assert "192 (96 M1 + 96 S1)" in done.stdout
    page = (checkout.folder / "runs/rex/page.html").read_text("utf-8")
    assert "SNN2" in page
    assert "Wiener" in page
