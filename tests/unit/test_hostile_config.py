"""Configurations made to harm: no text of theirs becomes a command or a path elsewhere."""

import copy
import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from spikereach.config import ConfigError, Name, validate

NASTY = (
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a && touch pwned",
    "a|touch pwned",
    "a\ntouch pwned",
    "a\n",
    "a b",
    "a'b",
    'a"b',
    "a\\b",
    "a\x00b",
    "{session}",
    "a*",
    "~",
    "-rf",
    "--help",
    "..",
    ".",
    ".hidden",
    "../../x",
    "a/../../x",
    "/etc/passwd",
    "C:\\x",
    "",
    "é",
    "a\u202eb",
    "a" * 101,
)

# Texts that may be anything: addresses, folders of one's own, what stands in a figure, and what
# only ever is compared with known names.
FREE = (
    "download.record",
    "folder",
    "weights_folder",
    ".label",
    ".architecture",
    ".sizes.",
)


@pytest.fixture(scope="module")
def raw(repository):
    return yaml.safe_load((repository / "config.yaml").read_text())


def texts(value, path=()):
    """(path, is a key) of all texts in a configuration, the keys of mappings among them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key), True
            yield from texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))
    elif isinstance(value, str):
        yield path, False


def replaced(raw, path, is_key, new):
    """The configuration with one text replaced, and without YAML's shared objects."""
    result = copy.deepcopy(raw)
    parent = result
    for key in path[:-1]:
        parent[key] = copy.deepcopy(parent[key])
        parent = parent[key]
    if is_key:
        items = [(new if key == path[-1] else key, value) for key, value in parent.items()]
        parent.clear()
        parent.update(items)
    else:
        parent[path[-1]] = new
    return result


def test_every_text_of_the_configuration(raw):
    """One nasty text at every place: refused by name, unless the place is free."""
    tried = 0
    for number, (path, is_key) in enumerate(texts(raw)):
        dotted = ".".join(map(str, path))
        new = NASTY[number % len(NASTY)]
        if not is_key and any(part in f".{dotted}" for part in FREE):
            continue
        if is_key and ".sizes." in dotted:
            continue  # names of arguments, compared with those of the decoder
        with pytest.raises(ConfigError):
            validate(replaced(raw, path, is_key, new))
        tried += 1
    assert tried > 300


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize(
    "path",
    [
        ("sessions", 0),
        ("tables", "coopt", 0),
        ("trajectory", "systems", 0),
        ("search", "RTnet", "session"),
        ("search", "RTnet", "system"),
        ("ablations", "cortex", 0, "system"),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_every_nasty_name(raw, path, text):
    with pytest.raises(ConfigError):
        validate(replaced(raw, path, False, text))


names = TypeAdapter(Name)


@given(st.text() | st.text(alphabet="ab.-_/\\ ;$\n~", max_size=6))
@example("a..b")
@example("a\n")
def test_a_name_that_is_accepted_is_safe(text):
    try:
        name = names.validate_python(text)
    except ValidationError:
        return
    assert shlex.quote(name) == name
    folder = Path("/run")
    assert Path(f"/run/{name}").resolve().parent == folder
    assert len(f".{name}.safetensors.tmp") < 255


def test_a_session_with_the_name_of_a_monkey(raw):
    entry = {"monkey": "indy", "areas": {"M1": 96}}
    with pytest.raises(ConfigError, match=r"catalogue\.indy: a monkey .* the same name"):
        validate(raw | {"catalogue": {"indy": entry}})


@pytest.mark.parametrize("folder", ["{session}", "a{x}", "}", "{"])
def test_a_folder_that_snakemake_would_take_for_a_pattern(raw, folder):
    with pytest.raises(ConfigError, match="has braces, which Snakemake takes for wildcards"):
        validate(raw | {"source": "local", "folder": folder})
