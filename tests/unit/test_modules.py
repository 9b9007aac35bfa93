"""Digests of code: what counts as a change, and how far it reaches."""

import itertools
import shutil
import sys

import pytest

import spikereach
from spikereach.workflow.code import code_digest

SCRIPT = "from spikereach.top import go\ngo()\n"
FILES = {
    "__init__.py": '"""A package."""\n',
    "top.py": "def go():\n    from spikereach.deep import below\n    return below.value\n",
    "deep/__init__.py": "",
    "deep/below.py": "value = 1\n",
    "deep/data.json": "{}",
    "apart.py": "value = 2\n",
}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """A function: digest of a script over a package with some files changed."""
    numbers = itertools.count()

    def of(changes=None, script=SCRIPT, modules=()):
        folder = tmp_path / str(next(numbers))
        for name, text in (FILES | (changes or {})).items():
            path = folder / "spikereach" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "script.py").write_text(script)
        monkeypatch.setattr(spikereach, "__file__", str(folder / "spikereach" / "__init__.py"))
        return code_digest(folder / "script.py", *modules)

    return of


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"apart.py": "value = 3\n"},
        {"deep/below.py": "# said\nvalue   =   1  # more\n"},
        {"deep/below.py": '"""Documented."""\n\nvalue = 1\n'},
        {"top.py": FILES["top.py"].replace("go():\n", 'go():\n    """Documented."""\n')},
    ],
)
def test_not_a_change(digest, changes):
    assert digest(changes) == digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"top.py": FILES["top.py"] + "extra = 1\n"},
        {"deep/below.py": "value = 2\n"},
        {"deep/__init__.py": "extra = 1\n"},
        {"__init__.py": "extra = 1\n"},
        {"deep/data.json": "[]"},
        {"deep/below.py": "import spikereach.apart\nvalue = 1\n"},
    ],
)
def test_a_change(digest, changes):
    assert digest(changes) != digest()


def test_the_script_counts_itself(digest):
    assert digest(script=SCRIPT + "go()\n") != digest()
    assert digest(script=SCRIPT + "# said\n") == digest()


def test_modules_given_by_name(digest):
    named = digest(modules=["spikereach.apart"])
    assert named != digest()
    assert digest({"apart.py": "value = 3\n"}, modules=["spikereach.apart"]) != named
    with pytest.raises(ModuleNotFoundError, match="absent"):
        digest(modules=["spikereach.absent"])


@pytest.mark.parametrize(
    "line",
    [
        "from own_decoders_of_a_test import help",
        "from own_decoders_of_a_test.help import value",
        "from . import help",
        "from .help import value",
    ],
)
def test_modules_outside_the_package(tmp_path, monkeypatch, digest, line):
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / "own_decoders_of_a_test"
    own.mkdir()
    (own / "__init__.py").write_text("")
    (own / "best.py").write_text(f"{line}\n")
    (own / "help.py").write_text("value = 1\n")
    first = digest(modules=["own_decoders_of_a_test.best"])
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(own, elsewhere / own.name)
    (elsewhere / own.name / "help.py").write_text("value = 2\n")
    monkeypatch.syspath_prepend(elsewhere)
    assert digest(modules=["own_decoders_of_a_test.best"]) != first
    assert own.name not in sys.modules, "nothing is imported"


@pytest.mark.parametrize("script", ["fetch_session", "bin_session", "write_table", "draw_figure"])
def test_scripts_that_need_no_torch_do_not_import_it(repository, script):
    """Seen from the files, as the digest sees it: nothing they lead to imports torch."""
    from spikereach.workflow import code as modules

    found, waiting = set(), [repository / "workflow" / "scripts" / f"{script}.py"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        text = path.read_text()
        assert not any(
            line.startswith(("import torch", "from torch")) for line in text.splitlines()
        ), path
        names = [name for name in modules._imports(path, "") if name.startswith("spikereach")]
        waiting += [file for name in names if (file := modules._file(name))]
