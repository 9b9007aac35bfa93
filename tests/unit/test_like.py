"""`like`: a system by what it has other than another one."""

import copy
import json

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from snakemake.cli import parse_config
from snakemake.utils import update_config

from spikereach import config
from spikereach.config.overlays import overlay, written_out
from spikereach.identity import canonical
from spikereach.workflow.plan import Plan
from spikereach.workflow.reports import Reports

LONG = {"RTnet-long": {"like": "RTnet", "sizes": {"kernel": 15}}}


@pytest.fixture(scope="module")
def raw(repository):
    return yaml.safe_load((repository / "config.yaml").read_text())


@pytest.fixture
def read(raw):
    """The systems of config.yaml with overlays."""

    def systems(*overlays):
        whole = raw
        for each in overlays:
            whole = overlay(whole, each)
        return config.validate(whole).systems

    return systems


# ---- What it means --------------------------------------------------------------------------

values = st.integers() | st.none() | st.lists(st.integers(), max_size=2)
# Inner mappings are not empty: Snakemake drops an empty one that is laid over a plain value.
changes = st.recursive(
    st.dictionaries(st.sampled_from(["a", "b", "published"]), values, min_size=1),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | values, min_size=1),
    max_leaves=6,
)


@st.composite
def families(draw):
    """Systems of which some are like others, in any order."""
    systems = {}
    for name in "VWXYZ":
        targets = st.sampled_from(sorted(systems)) if systems else st.none()
        target = draw(st.none() | targets)
        systems[name] = draw(changes) | ({} if target is None else {"like": target})
    return {name: systems[name] for name in draw(st.permutations(sorted(systems)))}


def meant(systems, name):
    """As docs/variant.md says it, with the function by which Snakemake lays files."""
    entry = copy.deepcopy(systems[name])
    target = entry.pop("like", None)
    if target is None:
        return entry
    whole = meant(systems, target)
    whole.pop("published", None)
    update_config(whole, entry)
    return whole


@given(families())
def test_changes_are_laid_over_the_other_system(systems):
    before = copy.deepcopy(systems)
    found = written_out(systems)
    assert found == {name: meant(systems, name) for name in systems}
    assert list(found) == list(systems)
    assert written_out(found) == found, "nothing is left to write out"
    assert systems == before


def test_a_variant_has_its_own_figures_only(read):
    found = read({"systems": LONG})
    expected = found["RTnet"].model_dump() | {"published": None}
    expected["sizes"]["kernel"] = 15
    assert found["RTnet-long"].model_dump() == expected
    own = {"systems": {"RTnet-long": LONG["RTnet-long"] | {"published": "BMnet"}}}
    assert read(own)["RTnet-long"].published == "BMnet"


def test_overlays_of_the_other_system_reach_it(read, repository):
    demo = yaml.safe_load((repository / "workflow" / "presets" / "demo.yaml").read_text())
    for overlays in ([demo, {"systems": LONG}], [{"systems": LONG}, demo]):
        found = read(*overlays)
        assert found["RTnet-long"].training == found["RTnet"].training
        assert found["RTnet-long"].training.finetune.epochs == 20
    shorter = {"systems": {"RTnet-long": {"training": {"finetune": {"epochs": 2}}}}}
    assert read({"systems": LONG}, shorter, demo)["RTnet-long"].training.finetune.epochs == 2


def test_lists_are_replaced_and_null_is_a_value(read):
    change = {"like": "sRTnet", "compression": [{"kind": "half"}]}
    assert read({"systems": {"X": change}})["X"].compression == (config.Half(kind="half"),)
    scratch = {"like": "RTnet", "training": {"pretrain": None}}
    found = read({"systems": {"X": scratch}})
    assert found["X"].training.pretrain is None
    assert found["X"].training.finetune == found["RTnet"].training.finetune
    # an overlay may take `like` away, and has to give all keys then
    with pytest.raises(config.ConfigError, match=r"systems\.BMnet-M1\.architecture: Field req"):
        read({"systems": {"BMnet-M1": {"like": None}}})


def test_the_command_line(read):
    given = "systems={RTnet-brief: {like: RTnet, training: {finetune: {epochs: 3}}}}"
    assert read(parse_config([given]))["RTnet-brief"].training.finetune.epochs == 3


def test_in_tables_ablations_and_search(raw):
    change = {
        "tables": {"per_session": ["RTnet", "RTnet-long"]},
        "ablations": {"cortex": [{"label": "long", "system": "RTnet-long"}]},
        "search": {"RTnet": {"system": "RTnet-long"}},
        "systems": LONG,
    }
    plan = Plan(config.validate(overlay(raw, change)), lambda name: name)
    assert "RTnet-long" in plan.tabled_systems()
    assert '"kernel":15' in plan.trial_spec("RTnet")


def test_what_a_run_writes_has_it_whole(raw, repository):
    scripts = repository / "workflow" / "scripts"
    read = config.validate(overlay(raw, {"systems": LONG}))
    reports = Reports(Plan(read, lambda name: scripts / f"{name}.py"))
    settings = json.loads(reports.job("documents", "results/config")["settings"])
    written = settings["config"]
    assert written["systems"]["RTnet-long"]["training"] == written["systems"]["RTnet"]["training"]
    assert not any("like" in entry for entry in written["systems"].values())
    assert canonical(config.validate(written)) == canonical(read)


def test_a_long_chain():
    names = [str(number) for number in range(1100)]  # Python calls 1,000 deep
    systems = {name: {"like": above} for name, above in zip(names[1:], names, strict=False)}
    assert written_out({"0": {"a": 1}} | systems)[names[-1]] == {"a": 1}


# ---- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("systems", "lines"),
    [
        (
            {"X": {"like": "RTnett"}},
            ["systems.X.like: no such system (got 'RTnett'); did you mean RTnet?"],
        ),
        ({"X": {"like": "rtnet"}}, ["systems.X.like: no such system (got 'rtnet'); did you mean"]),
        ({"X1": {"like": "X2"}}, ["systems.X1.like: no such system (got 'X2'); known: AEGRU, "]),
        ({"X": {"like": ["RTnet"]}}, ["systems.X.like: no such system (got ['RTnet'])"]),
        ({"X": {"like": 5}}, ["systems.X.like: no such system (got 5)"]),
        (
            {"X": {"like": "Nothing"}, "Y": {"like": "X"}},
            ["systems.X.like: no such system (got 'Nothing')"],
        ),
        (
            {"RTnet": {"like": "RTnet"}},
            ["systems.RTnet.like: a system cannot be like itself: RTnet -> RTnet"],
        ),
        (
            {"X": {"like": "Y"}, "Y": {"like": "X"}, "Z": {"like": "X"}},
            ["systems.Y.like: a system cannot be like itself: X -> Y -> X (got 'X'); the changed"],
        ),
        (
            {"X": {"like": "Y"}, "Y": {"like": "Z"}, "Z": {"like": "Y"}},
            ["systems.Z.like: a system cannot be like itself: Y -> Z -> Y"],
        ),
        ({"X": {"like": "RTnet", "sises": {}}}, ['systems.X.sises: no such key; see "System" in']),
        ({"X": {"like": "RTnet", "base": "RTnet"}}, ["systems.X: give exactly one of `training`"]),
        (
            {"X": {"like": "sRTnet", "sizes": {"kernel": 15}}},
            ["configuration: systems.X.sizes: is other than that of its base 'RTnet'"],
        ),
        # what a system has from another one is told there
        ({"RTnet": {"areas": ["M=9"]}}, ["systems.RTnet.areas.0: "]),
        ({"RTnet": None}, ["systems.RTnet: "]),
        (
            {"RTnet": {"areas": ["M=9"]}, "sRTnet": {"areas": ["M=8"]}},
            ["systems.RTnet.areas.0: ", "systems.sRTnet.areas.0: "],
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_once(raw, systems, lines):
    with pytest.raises(config.ConfigError) as caught:
        config.validate(overlay(raw, {"systems": systems}))
    _, *told = str(caught.value).splitlines()
    assert len(told) == len(lines), told
    for found, expected in zip(told, lines, strict=True):
        assert found.strip().startswith(expected)


# ---- The schema -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "accepted"),
    [
        ({"like": "RTnet"}, True),
        ({"like": "RTnet", "training": {"finetune": {"epochs": 3}}}, True),
        ({"like": "RTnet", "sises": {}}, False),
        ({"training": {"finetune": {"epochs": 3}}}, False),
        ({"like": "no name"}, False),
    ],
)
def test_schema(raw, repository, entry, accepted):
    path = repository / "workflow" / "schemas" / "config.schema.json"
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text()))
    whole = overlay(raw, {"systems": {"X": entry}})
    assert validator.is_valid(whole) == accepted


def test_schema_of_what_a_run_writes(raw, repository):
    path = repository / "workflow" / "schemas" / "config.schema.json"
    jsonschema.validate(json.loads(canonical(config.validate(raw))), json.loads(path.read_text()))
