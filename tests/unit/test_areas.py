"""Areas have the user's names, from the configuration down to a trained decoder and its tables."""

from itertools import chain

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from session_files import random_session
from spikereach.cli.inputs import areas_of
from spikereach.config import Area, ConfigError, overlay, validate
from spikereach.config.sessions import AREA, AREA_LENGTH, Session
from spikereach.data.binning import BinnedSession, bin_session
from spikereach.data.errors import SessionError
from spikereach.models import checkpoint
from spikereach.reporting.render import escape, markdown, tex
from spikereach.reporting.tables.hyperparameters import hyperparameters
from spikereach.training.fit import fit
from training_cases import CHANNELS, NAMES, bits, run_options, session, stage, system

NAMED = TypeAdapter(Area)
areas = st.dictionaries(
    st.from_regex(AREA, fullmatch=True).filter(lambda name: len(name) <= AREA_LENGTH),
    st.integers(1, 999),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def raw(repository):
    return yaml.safe_load((repository / "config.yaml").read_text())


def accepted(name):
    try:
        NAMED.validate_python(name)
    except ValidationError:
        return False
    return True


@given(st.text(max_size=45) | st.text(alphabet="aM1 =,\n\t\x1b", max_size=6))
@example("M1 left")
@example("M1\n")
@example("")
def test_the_rule_for_a_name(name):
    """As its message tells, and alike in a configuration and behind --areas."""
    words = name.split(" ")
    tidy = all(word and not any(c.isspace() for c in word) for word in words)
    plain = not any(c in "=," or ord(c) < 32 or ord(c) == 127 for c in name)
    assert accepted(name) == (tidy and plain and len(name) <= AREA_LENGTH)
    if accepted(name):
        assert areas_of(f"{name}=3") == {name: 3}


@settings(max_examples=30, deadline=None)
@given(areas)
def test_names_survive_the_command_line_and_yaml(raw, named):
    assert areas_of(", ".join(f" {name} = {count}" for name, count in named.items())) == named
    extra = {
        "catalogue": {"own": {"monkey": "own", "areas": named}},
        "systems": {"RTnet": {"areas": list(named)}},
    }
    config = validate(overlay(raw, yaml.safe_load(yaml.safe_dump(extra, sort_keys=False))))
    assert list(config.catalogue["own"].areas.items()) == list(named.items())
    assert config.systems["RTnet"].areas == tuple(named)


@pytest.mark.parametrize("text", ["M1", "M1=0", "M1=x", "M1=9,M1=9", "=9", "", "a=1,,b=2"])
def test_areas_that_are_refused_behind_the_option(text):
    with pytest.raises(ConfigError, match="expected each area once with its channels"):
        areas_of(text)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("no: 96", 'areas.*YAML reads the name as a truth value: quote it, "NAME"'),
        ("4: 96", 'YAML reads the name as a number: quote it, "NAME"'),
        ('"M1=left": 96', "any name without `=` and `,`, and single spaces only within it"),
        ('" M1": 96', "any name without `=` and `,`"),
        ("", r"catalogue\.own\.areas.*at least 1"),
    ],
)
def test_names_that_are_refused_in_a_file(raw, written, message):
    text = f"catalogue: {{own: {{monkey: own, areas: {{{written}}}}}}}"
    with pytest.raises(ConfigError, match=message):
        validate(overlay(raw, yaml.safe_load(text)))
    text = f"systems: {{RTnet: {{areas: [{written.partition(':')[0]}]}}}}"
    with pytest.raises(ConfigError, match=r"systems\.RTnet\.areas"):
        validate(overlay(raw, yaml.safe_load(text)))


def test_a_system_cannot_read_an_area_that_no_session_has(raw):
    own = {"catalogue": {"own": {"monkey": "own", "areas": {"PMd": 3}}}}
    known = own | {"systems": {"RTnet": {"areas": ["PMd", "M1"]}}}
    assert validate(overlay(raw, known)).systems["RTnet"].areas == ("PMd", "M1")
    known["systems"] = {"RTnet": {"areas": ["Pmd"]}}
    with pytest.raises(
        ConfigError,
        match=r"systems\.RTnet\.areas: no session has the area 'Pmd'; there are M1, S1, PMd",
    ):
        validate(overlay(raw, known))


# ---- Sessions ---------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(areas)
def test_a_session_keeps_them(tmp_path_factory, named):
    path = tmp_path_factory.mktemp("areas") / "own.h5"
    names = [name for name in named for _ in range(CHANNELS)][:CHANNELS]
    session(areas=tuple(names)).save(path)
    again = BinnedSession.load(path)
    assert again.areas == tuple(names)
    assert again.channels(None).tolist() == list(range(CHANNELS))
    columns = [again.channels([name]).tolist() for name in dict.fromkeys(names)]
    assert list(chain(*columns)) == list(range(CHANNELS))


@pytest.mark.parametrize(
    ("names", "configured", "good"),
    [
        (["M1 left 1", "M1 right 1"], {"M1 left": 1, "M1 right": 1}, True),
        (["M1 right 1", "M1 left 1"], {"M1 left": 1, "M1 right": 1}, False),
        (["M1 1", "M1 left 1"], {"M1": 1, "M1 left": 1}, True),
        (["M1 left 1", "M1 1"], {"M1": 1, "M1 left": 1}, False),
        (["M1 1", "M1 2"], {"M1 left": 1, "PMd": 1}, True),  # the user's own names for them
        (["elec 1", "M10"], {"M1": 1, "PMd": 1}, True),
        (["M1", "S1"], {"M1": 2}, False),
        (["PMd 1", "PMv 1"], {"PMv": 1, "PMd": 1}, False),
    ],
)
def test_names_of_channels_agree_with_the_areas(tmp_path, names, configured, good):
    path = random_session(tmp_path / "a.mat", channels=2, steps=100, names=names)
    if good:
        assert bin_session(path, Session("a", "m", configured)).areas == tuple(configured)
    else:
        with pytest.raises(SessionError, match=r"chan_names: channel \d is named '.*' but belongs"):
            bin_session(path, Session("a", "m", configured))


# ---- Training and tables ----------------------------------------------------------------


@pytest.mark.parametrize("merge", ["none", "post-LIF"])
def test_a_training_depends_on_where_areas_are_and_not_on_their_names(tmp_path, merge):
    sizes = {
        "blocks": 1, "kernel": 3, "conv_channels": 3, "lif_layers": 1, "lif_units": 4,
        "dropout": 0.0, "merge": merge,
    }  # fmt: skip

    def trained(first, second, read):
        recipe = stage(epochs=1, window=48)
        entry = system("hybrid", sizes=sizes, finetune=recipe, areas=read)
        layout = (first,) * 2 + (second,) * (CHANNELS - 2)
        folder = tmp_path / f"{first} {read}"
        folder.mkdir()
        made, _ = fit(entry, [session(areas=layout)], **NAMES, **run_options(folder))
        checkpoint.save(made, folder / "c.safetensors")
        assert checkpoint.load(folder / "c.safetensors").areas == layout
        return bits(made.decoder)

    expected = trained("M1", "S1", ("M1", "S1"))
    assert trained("M1 left", "PMd", ("M1 left", "PMd")) == expected
    assert trained("M1 left", "PMd", None) == expected


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="aM1_%&$#{}~^\\|²", min_size=1, max_size=8))
def test_tables_print_them_as_they_are(name):
    table = hyperparameters({"RTnet": system(areas=(name, "PMd"), finetune=stage())})
    assert escape(f"{name}, PMd") in tex(table)
    assert f"{name}, PMd".replace("|", r"\|") in markdown(table)
