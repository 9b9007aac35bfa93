"""What is said of mistyped names, and where YAML, or Snakemake's `--config`, reads a value as
something else."""

import copy
import json
import re

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from snakemake.cli import parse_config

from spikereach import config
from spikereach.config.nearest import closest, nearest


@pytest.fixture(scope="module")
def raw(repository):
    return yaml.safe_load((repository / "config.yaml").read_text())


def refusal(raw, change):
    """What is said of the change; None where it is accepted."""
    try:
        config.validate(config.overlay(raw, change))
    except config.ConfigError as error:
        return str(error)
    return None


# Names as sessions and folders have them, and what YAML may take for something else.
texts = st.from_regex(r"[0-9]([0-9_.:e+-]{0,12}[0-9_])?", fullmatch=True) | st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True
)
TRAPS = ("20240501_01", "2024-05-01", "2024_05_01", "no", "Yes", "null", "010", "1:30", "1e5")


def with_traps(test):
    for text in TRAPS:
        test = example(text=text)(test)
    return test


@with_traps
@given(text=texts)
def test_a_text_is_itself_or_to_be_quoted(raw, text):
    """And where it is quoted, it is itself."""
    try:
        found = yaml.safe_load(f"folder: {text}")
    except ValueError:  # a date of month 13
        assume(False)
    message = refusal(raw, found)
    assert (message is None) == (found["folder"] in (text, None))
    assert message is None or 'folder: "TEXT"' in message
    assert yaml.safe_load(f'folder: "{text}"') == {"folder": text}


@with_traps
@given(text=texts)
def test_the_command_line_is_told_how_it_takes_a_text(raw, text):
    """The way that the message gives is tried with Snakemake's own reader."""
    found = parse_config([f"folder={text}"])
    message = refusal(raw, found)
    if text == "null":
        assert "or --config folder=" in message
        return
    assert (message is None) == (found["folder"] == text)
    way = "folder=!!str TEXT"
    assert message is None or f"--config '{way}'" in message
    assert parse_config([way.replace("TEXT", text)]) == {"folder": text}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("20240501_01", "a number"),
        ("1.5", "a number"),
        ("1:30", "a number"),
        ("no", "a truth value"),
        ("2024-05-01", "a date"),
        ("2024-05-01 10:00:00", "a time"),
        ("~", "null"),
    ],
)
@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("sessions: [VALUE]", 'sessions: ["NAME"]'),
        ("pretrain_sessions: {indy: [VALUE]}", 'indy: ["NAME"]'),
        ("catalogue: {own: {monkey: VALUE, areas: {M1: 3}}}", 'monkey: "TEXT"'),
        ("catalogue: {VALUE: {monkey: own, areas: {M1: 3}}}", '"NAME": ...'),
        ("systems: {VALUE: {base: RTnet}}", '"NAME": ...'),
        ("search: {RTnet: {session: VALUE}}", 'session: "TEXT"'),
        ("ablations: {cortex: [{label: VALUE, system: RTnet}]}", 'label: "TEXT"'),
        ("download: {record: VALUE}", 'record: "TEXT"'),
    ],
)
def test_every_name_and_text_of_a_file(raw, text, what, written, remedy):
    message = refusal(raw, yaml.safe_load(written.replace("VALUE", text)))
    assert re.search(rf"YAML reads (it|the name) as {what}: quote it, {re.escape(remedy)}", message)
    assert "at least 1 item" not in message  # which is no second mistake


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("sessions=indy_20160622_01", "sessions=[indy_20160622_01]"),
        ("sessions=indy_20160622_01,loco_20170210_03", None),
        ("sessions=indy_20160622_01 loco_20170210_03", None),
        ("seeds=0,1", "seeds=[0, 1]"),
        ("seeds=3", "seeds=[...]"),
        ("seeds=", "seeds=[...]"),
    ],
)
def test_the_command_line_is_told_how_a_list_is_written(raw, given, remedy):
    message = refusal(raw, parse_config([given]))
    found = re.search(r"a list is written .*--config '(.*)'\)", message)[1]
    assert found == (remedy or "sessions=[indy_20160622_01, loco_20170210_03]")
    if "..." not in found:
        assert refusal(raw, parse_config([found])) is None


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("tables: {coopt: RTnet}", "a list is written coopt: [RTnet]"),
        ("trajectory: {systems: RTnet, SNN2}", None),
        ("systems: {RTnet: {areas: M1}}", "a list is written areas: [M1]"),
        ("catalogue:", "where nothing is meant, write catalogue: {}"),
    ],
)
def test_a_file_is_told_how_lists_and_empty_blocks_are_written(raw, written, remedy):
    message = refusal(raw, yaml.safe_load(written))
    assert (remedy or "trajectory.SNN2") in message


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("search=null", "search: null in a YAML file, or --config search="),
        ("threads=~", "threads: null in a YAML file, or --config threads="),
        ("folder=null", "folder: null in a YAML file, or --config folder="),
        ("weights_folder=~", "weights_folder: null in a YAML file, or --config weights_folder="),
        ("evaluation={neurobench_steps: null}", "neurobench_steps: null in a YAML file"),
    ],
)
def test_the_command_line_has_no_null(raw, given, remedy):
    assert remedy in refusal(raw, parse_config([given]))
    assert refusal(raw, parse_config(["search="])) is None


@pytest.mark.parametrize("text", ["1e-1", "2E3", "+1e2"])
def test_numbers_that_yaml_takes_for_text(raw, text):
    """YAML wants a point, and a sign of the exponent."""
    found = yaml.safe_load(f"systems: {{RTnet: {{sizes: {{dropout: {text}}}}}}}")
    assert found["systems"]["RTnet"]["sizes"]["dropout"] == text
    message = refusal(raw, found)
    (number,) = re.findall(r"sizes\.dropout: .* is text: write (\S+) in a YAML file", message)
    assert yaml.safe_load(number) == float(text)


def test_numbers_that_the_command_line_leaves_text(raw):
    """Where a number is asked for they become one; an architecture's sizes may be anything."""
    assert refusal(raw, parse_config(["evaluation={stream_steps: 30}"])) is None
    for value, text in (("hidden: 32", "32"), ("readouts: [[50, 1e1]]", "50")):
        message = refusal(raw, parse_config([f"systems={{tinyRSNN: {{sizes: {{{value}}}}}}}"]))
        assert f"'{text}' is text: write {text} in a YAML file" in message


def test_a_date_that_is_none(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("sessions: [2024-13-01]\n")
    with pytest.raises(config.ConfigError, match=r"config\.yaml: .*month must be.*; quote it"):
        config.read(path)


def test_a_setting_in_the_place_of_a_file():
    """`spikereach --config` takes files, `snakemake --config` settings."""
    with pytest.raises(
        config.ConfigError, match="write folder: here into one and give it by --config"
    ):
        config.read("folder=here")


# ---- Mistyped names -------------------------------------------------------------------------


def blocks(value, path=()):
    """(path, model) of every block of a configuration."""
    if isinstance(value, BaseModel):
        yield path, value
        for name, field in type(value).model_fields.items():
            yield from blocks(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from blocks(inner, (*path, key))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from blocks(inner, (*path, number))


def test_every_mistyped_key_is_told_its_neighbour_and_where_keys_are_described(raw, repository):
    sections = re.findall("^## (.*)$", (repository / "config" / "README.md").read_text(), re.M)
    own = {"catalogue": {"own": {"monkey": "rex", "areas": {"M1": 3}}}}
    paper = config.validate(config.overlay(raw, own))
    whole = json.loads(paper.model_dump_json())
    tried = set()
    for path, block in blocks(paper):
        for name, field in type(block).model_fields.items():
            key = field.alias or name
            if (type(block), key) in tried or key == "kind":  # which tells what keys there are
                continue
            tried.add((type(block), key))
            changed = copy.deepcopy(whole)
            at = changed
            for each in path:
                at = at[each]
            at[f"{key}x"] = at.pop(key)
            with pytest.raises(config.ConfigError) as caught:
                config.validate(changed)
            (line,) = [line for line in str(caught.value).splitlines() if "no such key" in line]
            section = re.search('see "(.*)" in config/README.md', line)[1]
            assert section in sections
            assert line.endswith(f"did you mean {key}?")
    assert len(tried) > 90


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("sorce=local", "sorce: no such key (got 'local'); see \"Keys\" in config/README.md; did"),
        ("colour=blue", "known: ablations, blocked, "),
        ("source=zenod", "did you mean zenodo?"),
        ("tables={coopr: [RTnet]}", "did you mean coopt?"),
        ("tables={coopt: [rtnet]}", "did you mean RTnet?"),
        ("systems={RTnett: {sizes: {dropout: 0.5}}}", "and its changes; did you mean RTnet?"),
        ("systems={RTnet: {architecture: hybird}}", "did you mean hybrid?"),
        ("systems={RTnet: {sizes: {kernal: 9}}}", "has no size 'kernal'; did you mean kernel?"),
        ("systems={sRTnet: {base: RTnett}}", "no system 'RTnett'; did you mean RTnet?"),
        ("systems={sRTnet: {compression: [{kind: prun}]}}", "did you mean prune?"),
        ("search={RTnet: {space: {k: {paths: [sizes.kernl]}}}}", "did you mean kernel?"),
        ("sessions=[indy_20160622_1]", "close names: indy_20160622_01"),
    ],
)  # fmt: skip
def test_mistyped_names_on_the_command_line(raw, given, message):
    assert message in refusal(raw, parse_config([given]))


@given(st.sets(st.text("abcRTnet", min_size=3, max_size=8), min_size=1), st.data())
def test_a_known_name_is_its_own_neighbour_in_any_case(known, data):
    name = data.draw(st.sampled_from(sorted(known)))
    found = closest(name.swapcase(), known)
    assert found.casefold() == name.casefold()
    assert nearest(name.swapcase(), known) == f"did you mean {found}?"
