"""Snakemake called as a user calls it, on a copy of the checkout that a test may change."""

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from browser import chromium

PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "envs")


class Checkout:
    """A copy of the repository with a run folder of its own.

    The package is that of the repository, beside which its compiled loops lie: each copy of the
    package would compile them anew. Tests that change the package call :meth:`copy_package`.
    """

    def __init__(self, repository: Path, folder: Path):
        self.repository = repository
        self.folder = folder
        self.run_folder = folder / "run"
        self.overlay = folder / "tiny.yaml"
        self.overlays = [self.overlay]
        self.python_path = [repository / "src"]
        self.prefix = []
        """What Snakemake is called by."""
        for part in PARTS:
            source = repository / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / part)
        shutil.copy(repository / "tests" / "workflow" / "tiny.yaml", self.overlay)

    def copy_package(self):
        """A copy of the package that a test may change, from here on used."""
        shutil.copytree(self.repository / "src", self.folder / "src")
        self.python_path[0] = self.folder / "src"

    def snakemake(self, *arguments, **options):
        """Run Snakemake in the copy; returns the finished process."""
        with self.started(*arguments, **options) as process:
            try:
                output, _ = process.communicate(timeout=900)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def started(self, *arguments, overlay=True, directory=True):
        """The same, running and the leader of a process group of its own."""
        command = [*self.prefix, sys.executable, "-m", "snakemake", *map(str, arguments)]
        command += ["--directory", str(self.run_folder)] * directory
        command += ["--configfile", *map(str, self.overlays)] * overlay
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, self.python_path)),
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
        }
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def planned(self, *targets, **options):
        """Rule -> outputs that a dry run would make now."""
        done = self.snakemake(*targets, "--dry-run", "--cores", "2", **options)
        assert done.returncode == 0, done.stdout
        found = {}
        for name, outputs in re.findall(
            r"^(?:local)?rule (\w+):\n(?:    (?!output).*\n)*    output: (.*)$", done.stdout, re.M
        ):
            found.setdefault(name, []).extend(outputs.split(", "))
        return found

    def edit(self, path, old, new):
        """Replace a text that occurs once in a file of the copy."""
        file = self.folder / path
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {path}"
        file.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def browser():
    """One for all pages; those who use it begin with :meth:`browser.Page.begin`."""
    with chromium() as page:
        yield page


@pytest.fixture(scope="session")
def make_checkout(repository):
    return partial(Checkout, repository)


@pytest.fixture
def checkout(make_checkout, tmp_path):
    return make_checkout(tmp_path)
