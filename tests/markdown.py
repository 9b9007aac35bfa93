"""The code in a document, so that what a reader copies is what the tests run."""

import re
from pathlib import Path

_FILE = re.compile(r"^`([^`\n]+)`(?:[^\n]|\n(?!\n))*:\n\n```\w+\n(.*?)^```$", re.M | re.S)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)


def files(document: Path) -> dict[str, str]:
    """Name -> content of each block that follows a paragraph "`NAME` ...:"."""
    return dict(_FILE.findall(document.read_text(encoding="utf-8")))


def commands(document: Path) -> list[str]:
    """Each block of shell commands, in order."""
    return _COMMANDS.findall(document.read_text(encoding="utf-8"))


def python(document: Path) -> list[str]:
    """Each block of Python, in order."""
    return _PYTHON.findall(document.read_text(encoding="utf-8"))
