"""Fixtures for all tests."""

import os

# One test process per core: threads of theirs would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A notebook's, with which matplotlib cannot be imported.
os.environ["MPLBACKEND"] = "agg"

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """Files that have slow tests come first, so that none of them is left alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session", params=["ASCII", "ISO-8859-1", "EUC-JP"])
def locale_variables(request, tmp_path_factory) -> dict[str, str]:
    """Variables that give a process a locale of this encoding, in place of UTF-8."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if request.param == "ASCII":
        return plain
    folder = tmp_path_factory.mktemp("locales")
    name = {"ISO-8859-1": "en_GB", "EUC-JP": "ja_JP"}[request.param]
    command = ["localedef", "-i", name, "-f", request.param, str(folder / name)]
    if shutil.which("localedef") is None or subprocess.run(command).returncode != 0:
        pytest.skip("no localedef, or no description of this locale (Debian's package locales)")
    return plain | {"LC_ALL": name, "LOCPATH": str(folder)}


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with published weights, test vectors and a real recording, beside the checkout."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the folder with published weights and recordings (../shared) is absent")
    return folder
