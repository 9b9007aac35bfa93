"""Digests: what counts as a change, and how far it reaches."""

import hashlib
import itertools
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spikereach
from spikereach import config, identity
from spikereach.identity import array_checksum, canonical, code_digest, file_checksum
from spikereach.identity import digest as of_value

# ---- Values -------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=1, max_size=4))
def test_of_a_value_whatever_the_order_of_its_keys(value):
    assert of_value(dict(reversed(value.items()))) == of_value(value)
    changed = dict(value)
    changed[next(iter(value))] += 1
    assert of_value(changed) != of_value(value)


def test_models_are_their_json():
    model = config.Half(kind="half")
    assert canonical(model) == '{"kind":"half"}'
    assert canonical({"b": [model], "a": None}) == '{"a":null,"b":[{"kind":"half"}]}'


def test_seeds_of_random_numbers_stay(repository):
    """Other digests of these recipes would change every trained weight."""
    systems = config.read(repository / "config.yaml").systems
    assert of_value({})[:16] == "44136fa355b3678a"
    assert of_value(systems["SNN2"].training.finetune)[:16] == "2d3c6ca287496325"
    assert of_value(systems["RTnet"].training.finetune)[:16] == "a3840de982c41d0b"


# ---- Files and arrays -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1])
def test_of_a_file(tmp_path, size):
    content, told = np.random.default_rng(0).bytes(size), []
    (tmp_path / "file").write_bytes(content)
    assert file_checksum(tmp_path / "file", "md5") == hashlib.md5(content).hexdigest()
    found = file_checksum(str(tmp_path / "file"), advance=told.append)
    assert found == hashlib.sha256(content).hexdigest()
    assert sum(told) == size


ARRAYS = {"w": np.arange(6.0).reshape(2, 3).T, "n": np.array(3), "none": np.ones((2, 0))}


@pytest.mark.parametrize(
    "changed",
    [
        {"w": ARRAYS["w"] + np.eye(3, 2)},
        {"w": ARRAYS["w"].reshape(2, 3)},
        {"w": ARRAYS["w"].view(np.int64)},
        {"w": ARRAYS["w"].byteswap().view(">f8")},
        {"n": np.array([3])},
        {"none": np.ones((0, 2))},
        {"more": np.array(0)},
    ],
)
def test_of_arrays(changed):
    first = array_checksum(ARRAYS, ["about"])
    assert array_checksum(dict(reversed(ARRAYS.items())), ["about"]) == first
    assert array_checksum({**ARRAYS, "w": ARRAYS["w"].copy()}, ["about"]) == first
    assert array_checksum({**ARRAYS, **changed}, ["about"]) != first
    assert array_checksum(ARRAYS, ["other"]) != first


def test_of_tensors_is_that_of_checkpoints_written_before():
    tensors = {
        "w": torch.arange(6.0).reshape(2, 3).t(),
        "n": torch.nn.Parameter(torch.tensor(3.0)).long(),
        "h": torch.ones(2, 0).half(),
        "b": torch.tensor([True, False]),
    }
    assert array_checksum(tensors)[:16] == "3bb744af30f2f33c"
    assert array_checksum(tensors, {"z": 1, "a": [0]})[:16] == "2fa49d569c00b1fe"


def test_what_it_needs_to_be_imported():
    code = "import sys, spikereach.identity; print({'torch', 'h5py', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


# ---- Code -----------------------------------------------------------------------------------

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
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
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


def test_line_ends_of_a_checkout_are_no_change(repository, tmp_path, monkeypatch):
    """The whole package and all scripts, as git leaves them where core.autocrlf is set."""
    scripts = sorted((repository / "workflow" / "scripts").glob("*.py"))
    modules = ["spikereach.models.hybrid", "spikereach.reporting.view"]
    before = [code_digest(path, *modules) for path in scripts]
    copy = shutil.copytree(repository / "src" / "spikereach", tmp_path / "spikereach")
    scripts = [pathlib.Path(shutil.copy(path, tmp_path)) for path in scripts]
    for path in (*copy.rglob("*.*"), *scripts):
        if path.is_file() and path.suffix != ".pyc" and b"\0" not in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(spikereach, "__file__", str(copy / "__init__.py"))
    assert [code_digest(path, *modules) for path in scripts] == before


def test_bytes_of_a_picture_are_no_line_ends(digest):
    assert digest({"deep/a.png": b"\0\r\n"}) != digest({"deep/a.png": b"\0\n"})


DIGESTS = """
import sys
from spikereach.identity import code_digest
for script in sys.argv[1:]:
    print(code_digest(script, "spikereach.reporting.tables.tracks"))
"""


def test_the_locale_is_no_change(repository, locale_variables):
    scripts = sorted((repository / "workflow" / "scripts").glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS, *scripts],
        env=os.environ | locale_variables,
        capture_output=True,
        text=True,
    )
    expected = [code_digest(path, "spikereach.reporting.tables.tracks") for path in scripts]
    assert done.stdout.split() == expected, done.stderr


def test_the_script_counts_itself(digest):
    assert digest(script=SCRIPT + "go()\n") != digest()
    assert digest(script=SCRIPT + "# said\n") == digest()


def test_what_only_type_checkers_import_does_not_count(digest):
    guarded = "if TYPE_CHECKING:\n    from spikereach.apart import value\n"
    changes = {"deep/below.py": f"from typing import TYPE_CHECKING\n{guarded}value = 1\n"}
    assert digest(changes | {"apart.py": "value = 3\n"}) == digest(changes)


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


@pytest.mark.parametrize("script", ["fetch_session", "bin_session", "measure_firmware", "report"])
def test_scripts_that_need_no_torch_do_not_import_it(repository, script):
    """Seen from the files, as the digest sees it: nothing they lead to imports torch."""
    from spikereach import identity
    from spikereach.reporting.registry import REGISTRY

    found, waiting = set(), [repository / "workflow" / "scripts" / f"{script}.py"]
    if script == "report":
        entries = [entry for kind in REGISTRY.values() for entry in kind.values()]
        modules = {entry.target.partition(":")[0] for entry in entries if entry.inputs != "trials"}
        waiting += [identity._file(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        text = path.read_text()
        assert not any(
            line.startswith(("import torch", "from torch")) for line in text.splitlines()
        ), path
        names = [name for name in identity._module(path, "")[0] if name.startswith("spikereach")]
        waiting += [file for name in names if (file := identity._file(name))]


def test_modules_that_a_package_imports_by_its_own_name_count(digest):
    operation = {"deep/__init__.py": "backend = choose(__name__)\n", "deep/loop.py": "value = 1\n"}
    assert digest(operation | {"deep/loop.py": "value = 2\n"}) != digest(operation)
    logged = operation | {"deep/__init__.py": "log = 'of its own'\n"}
    assert digest(logged | {"deep/loop.py": "value = 2\n"}) == digest(logged)


def test_every_module_of_the_operations_is_in_the_digest_of_a_training(repository, monkeypatch):
    seen, read = set(), identity._module

    def noted(path, name):
        seen.add(path)
        return read(path, name)

    monkeypatch.setattr(identity, "_module", noted)
    decoders = [f"spikereach.models.{name}" for name in ("rsnn", "snn2", "hybrid", "vasilache")]
    script = repository / "workflow" / "scripts" / "train_decoder.py"
    code_digest.__wrapped__(script, *decoders)
    folder = pathlib.Path(spikereach.__file__).parent / "ops"
    assert set(folder.rglob("*.py")) <= seen
    assert folder.parent / "api.py" not in seen, "no job calls it"
