"""docs/where-to-change.md names places that exist."""

import re

import pytest


@pytest.fixture(scope="module")
def rows(repository):
    text = (repository / "docs" / "where-to-change.md").read_text()
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells[1:]]


def places(cell):
    """Paths in backticks; a file alone, such as `step.py`, lies in the folder named before it."""
    return re.findall(r"`([^`]*(?:/|\.\w+))`", cell)


def test_every_place_exists(rows, repository):
    assert len(rows) >= 10
    for change, files, _ in rows:
        named = places(files)
        assert named, f"{change}: names no place"
        for place in named:
            assert (repository / place).exists(), f"{change}: {place}"


def test_files_of_a_folder_lie_there(rows, repository):
    (_, files, what) = rows[0]
    (folder,) = places(files)
    for name in places(what):
        assert (repository / folder / name).is_file(), name
