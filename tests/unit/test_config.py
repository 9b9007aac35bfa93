"""The configuration models, the root config.yaml, the presets, and the schema made from them."""

import json
import math
import re
import runpy
import types
import typing

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from snakemake.utils import update_config

from spikereach import config
from spikereach.ops.common.backends import MAX_UNITS

LOCAL = {"folder": "somewhere"}
PRESETS = {
    "blocked": (["demo", "blocked"], {}),
    "dandi": (["dandi"], LOCAL),
    "demo": (["demo"], {}),
    "fusion": (["demo", "fusion"], {}),
    "frontier": (["recording", "frontier"], LOCAL),
    "laptop": (["laptop"], {}),
    "recording": (["recording"], LOCAL),
    "long-recording": (["recording", "long-recording"], LOCAL),
}


@pytest.fixture(scope="module")
def raw(repository):
    return yaml.safe_load((repository / "config.yaml").read_text())


def test_root_configuration_is_valid(repository):
    assert config.read(repository / "config.yaml").source == "zenodo"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_valid(repository, tmp_path, name):
    extra = tmp_path / "extra.yaml"
    names, settings = PRESETS[name]
    extra.write_text(yaml.safe_dump(settings))
    presets = [repository / "workflow" / "presets" / f"{each}.yaml" for each in names]
    config.read(repository / "config.yaml", *presets, extra)


def test_every_preset_is_tested(repository):
    names = {path.stem for path in (repository / "workflow" / "presets").glob("*.yaml")}
    assert names == set(PRESETS)


def _model(annotation) -> type[BaseModel] | None:
    """The model of a block's annotation, also where null is allowed."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next(filter(None, map(_model, typing.get_args(annotation))), None)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def test_root_configuration_is_complete(raw):
    """Every key stands there, also the blocks' own; jobs elsewhere see no defaults."""
    assert raw.keys() == config.Config.model_fields.keys()
    for name, field in config.Config.model_fields.items():
        if model := _model(field.annotation):
            assert raw[name].keys() == model.model_fields.keys(), name


def test_every_key_of_the_root_configuration_is_commented(repository):
    lines = (repository / "config.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line[:1].isalpha():
            assert "#" in line or lines[number - 1].startswith("# "), line


def test_schema_and_readme_are_those_of_the_models(repository):
    files = runpy.run_path(str(repository / "workflow" / "schemas" / "write.py"))["FILES"]
    assert len(files) == 2
    for path, text in files.items():
        assert path.read_text() == text(), "run `make schema`"


def test_readme_has_every_key_and_its_links_lead_somewhere(repository):
    text = (repository / "config" / "README.md").read_text()
    headings = {line[3:].lower() for line in text.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) == headings - {"keys"}
    assert [key for key in config.Config.model_fields if f"| `{key}` |" not in text] == []


# Inner mappings are not empty: Snakemake drops an empty one that is laid over a plain value.
mappings = st.recursive(
    st.integers() | st.none() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(mappings, mappings)
def test_overlay_is_snakemakes(base, extra):
    expected = yaml.safe_load(yaml.safe_dump(base))
    update_config(expected, extra)
    assert config.overlay(base, extra) == expected


def test_a_search_that_is_null_is_left_out(repository):
    """Of two overlays Snakemake lays the second over the first, and both over config.yaml: a null
    of the first is gone then, and with it what it took away."""
    base = yaml.safe_load((repository / "config.yaml").read_text())
    base["search"]["mine"] = base["search"]["RTnet"]
    for search, names in (({"RTnet": None}, {"mine"}), (None, set()), ({}, {"RTnet", "mine"})):
        found = config.validate(config.overlay(base, {"search": search}))
        assert set(found.search) == names


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            {"colour": "blue"},
            ["colour: no such key (got 'blue')", "known: ablations, blocked, catalogue, "],
        ),
        ({"download": {"retries": -1}}, ["download.retries", "-1"]),
        ({"seeds": []}, ["seeds", "at least 1"]),
        ({"seeds": [0, 0]}, ["seeds has a value twice"]),
        ({"sessions": ["../outside"]}, ["sessions.0", "'../outside'"]),
        ({"sessions": ["indy_20160622_1"]}, ["'indy_20160622_1'", "indy_20160622_01"]),
        ({"pretrain_sessions": {"indy": ["loco_20170210_03"]}}, ["pretrain_sessions.indy", "loco"]),
        (
            {"search": {"RTnet": {"session": "loco_20170215_2"}}},
            ["'loco_20170215_2' is", "loco_20170215_02"],
        ),
        (
            {"catalogue": {"indy_20160622_01": {"monkey": "x", "areas": {"M1": 1}}}},
            ["catalogue.indy_20160622_01: the name belongs to a built-in session"],
        ),
        (
            {"systems": {"SNN2-imported": {"published": "RTnet"}}},
            ["systems.SNN2-imported", "no published weights for 'RTnet'; there are some for ANN2"],
        ),
        ({"systems": {"a/b": None}}, ["systems.a/b"]),
        ({"systems": {"RTnet": {"base": "SNN2"}}}, ["systems.RTnet", "exactly one of"]),
        ({"systems": {"RTnet": {"sises": {}}}}, ["systems.RTnet.sises"]),
        (
            {"systems": {"Wiener": {"architecture": "winer"}}},
            ["systems.Wiener.architecture", "unknown architecture 'winer'", "did you mean wiener?"],
        ),
        ({"systems": {"sRTnet": {"base": "nothing"}}}, ["systems.sRTnet.base", "nothing"]),
        ({"trajectory": {"systems": ["RTnett"]}}, ["trajectory.systems", "'RTnett'", "RTnet"]),
        ({"tables": {"coopt": ["Wiener", "RTnett"]}}, ["tables.coopt", "'RTnett'", "RTnet"]),
        ({"source": "local"}, ["--config folder="]),
        ({"tables": {"coopr": []}}, ["tables.coopr", "'coopt'"]),
        ({"tables": {"imported": ["SNN2"]}}, ["tables.imported", "systems.SNN2", "`weights`"]),
        ({"tables": {"blocked": ["SNN2-imported"]}}, ["tables.blocked", "trained on other parts"]),
        ({"catalogue": {"a.fold2": {"monkey": "b", "areas": {"M1": 4}}}}, ["catalogue.a.fold2"]),
        ({"blocked": {"folds": 2}}, ["blocked.folds", "got 2"]),
        ({"systems": {"SNN2": {"weights": "published"}}}, ["systems.SNN2", "exactly one of"]),
        ({"systems": {"SNN2-imported": {"published": None}}}, ["SNN2-imported", "`published`"]),
        (
            {"systems": {"SNN2-imported": {"compression": [{"kind": "half"}]}}},
            ["SNN2-imported", "no `compression`"],
        ),
        (
            {"systems": {"sRTnet": {"base": "tinyRSNN-imported"}}},
            ["systems.sRTnet.base", "'tinyRSNN-imported' has no `training`"],
        ),
    ],
)
def test_wrong_keys_are_named(raw, change, parts):
    with pytest.raises(config.ConfigError) as caught:
        config.validate(config.overlay(raw, change))
    for part in parts:
        assert part in str(caught.value)


def test_systems_with_published_weights_are_known(repository):
    path = repository / "src" / "spikereach" / "published" / "weights.json"
    assert tuple(json.loads(path.read_text())) == config.WEIGHTS


def test_all_wrong_keys_are_named_at_once(raw):
    with pytest.raises(config.ConfigError) as caught:
        config.validate(config.overlay(raw, {"threads": 0, "device": "gpu"}))
    assert {"threads", "device"} <= {
        line.split(":")[0].strip() for line in str(caught.value).splitlines()
    }


def test_seed_zero_is_a_seed(raw):
    assert config.validate(config.overlay(raw, {"seeds": [0]})).seeds == (0,)


def test_overlay_alone_is_told_what_it_is_laid_over(tmp_path, repository):
    path = tmp_path / "seeds.yaml"
    path.write_text("seeds: [0]")
    with pytest.raises(config.ConfigError) as caught:
        config.read(path)
    assert str(caught.value).endswith(f": --config config.yaml --config {path}")
    assert config.read(repository / "config.yaml", path).seeds == (0,)


def test_files_that_are_no_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: [")
    with pytest.raises(config.ConfigError, match=r"config\.yaml: not valid YAML"):
        config.read(path)
    path.write_text("- a\n")
    with pytest.raises(config.ConfigError, match="expected a mapping"):
        config.read(path)


@pytest.mark.parametrize("key", ["start_s", "duration_s"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_numbers_are_finite(raw, key, value):
    changed = config.overlay(raw, {"trajectory": {key: value}})
    with pytest.raises(config.ConfigError, match=f"trajectory.{key}: .*finite number"):
        config.validate(changed)


def test_layers_too_wide_for_one_program_are_validated_side_by_side(repository):
    """On CUDA they take kernels per step: as one stream, validation would launch some for every
    step of a recording, in windows for those of one window per batch."""
    systems = config.read(repository / "config.yaml").systems
    rsnns = [s for s in systems.values() if s.architecture == "rsnn" and s.training]
    wide = [s for s in rsnns if s.sizes["hidden"] > MAX_UNITS]
    stages = [stage for s in wide for stage in (s.training.pretrain, s.training.finetune)]
    assert len(stages) == 2
    assert all(stage.validate_on == "windows" for stage in stages)
