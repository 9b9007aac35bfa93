"""The catalogue of sessions."""

import json
import re
from collections import Counter

import pytest
from neurobench.datasets.primate_reaching import PrimateReaching

from spikereach.config import ConfigError, SessionEntry
from spikereach.config.sessions import ZENODO, evaluation_session, find


def test_the_catalogue_has_the_sessions_of_the_record():
    assert len(ZENODO) == 47
    assert all(name == session.name for name, session in ZENODO.items())
    counts = Counter((session.monkey, session.channels) for session in ZENODO.values())
    assert counts == {("indy", 96): 30, ("indy", 192): 7, ("loco", 192): 10}


def test_all_that_is_known_of_the_files(shared):
    """Of every file an MD5 and its channels, of some its size and what is counted in it."""
    lines = (shared / "reference" / "sessions.tsv").read_text("utf-8").splitlines()
    names = ["session", "md5", "bytes", "channels", "samples", "segments", "test_steps"]
    assert lines[0].split("\t") == names
    for line, session in zip(lines[1:], ZENODO.values(), strict=True):
        known = [session.size, session.channels]
        known += [session.samples, session.segments, session.test_steps]
        found = [session.name, session.md5, *("" if n is None else str(n) for n in known)]
        assert found == line.split("\t")
        assert session.name.startswith(f"{session.monkey}_")
        assert re.fullmatch(r"[0-9a-f]{32}", session.md5)


def test_checksums_are_those_built_into_neurobench():
    ours = {f"{name}.mat": session.md5 for name, session in ZENODO.items()}
    assert PrimateReaching.md5s.items() <= ours.items()


def test_test_parts_give_the_published_dense_operations_of_ann2(shared):
    """ANN2 does 4704 or 7776 dense operations per step, and none in its first 49 steps."""
    published = json.loads((shared / "reference" / "published.json").read_text())
    dense = published["per_session"]["ANN2"]["dense"]
    known = {s.name: s for s in ZENODO.values() if s.test_steps}
    assert dense.keys() == known.keys()
    for name, session in known.items():
        per_step = {96: 4704, 192: 7776}[session.channels]
        assert per_step * (1 - 49 / session.test_steps) == pytest.approx(dense[name], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "monkey", "areas"),
    [
        ("indy_20160622_01", "indy", {"M1": 96}),
        ("indy_20160407_02", "indy", {"M1": 96, "S1": 96}),
        ("loco_20170215_02", "loco", {"M1": 96, "S1": 96}),
        ("synthetic_indy_1", "synthetic_indy", {"M1": 96}),
        ("synthetic_loco_12", "synthetic_loco", {"M1": 96, "S1": 96}),
    ],
)
def test_built_in_sessions_are_found(name, monkey, areas):
    session = find(name, {})
    assert (session.name, session.monkey, session.areas) == (name, monkey, areas)


def test_sessions_of_the_configuration_are_found_with_their_areas_in_order():
    entry = SessionEntry(monkey="chewie", areas={"S1": 3, "M1": 174})
    session = find("chewie_1", {"chewie_1": entry})
    assert list(session.areas.items()) == [("S1", 3), ("M1", 174)]
    assert (session.monkey, session.md5, session.test_steps) == ("chewie", None, None)


@pytest.mark.parametrize("name", ["indy_20160622_1", "synthetic_indy_0", "synthetic_indy_01", "x"])
def test_an_unknown_session_is_named_with_close_ones(name):
    with pytest.raises(ConfigError, match=name) as error:
        find(name, {})
    if name.startswith("indy"):
        assert "indy_20160622_01" in str(error.value)


@pytest.mark.parametrize("name", ["indy_20160622_01", "synthetic_loco_1"])
def test_the_configuration_cannot_redefine_a_built_in_session(name):
    with pytest.raises(ConfigError, match=name):
        find(name, {name: SessionEntry(monkey="x", areas={"M1": 1})})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("indy_20160630_01", "indy_20160630_01"),
        ("loco_20170213_02", None),
        ("synthetic_indy_1", "indy_20160622_01"),
        ("synthetic_indy_3", "indy_20170131_02"),
        ("synthetic_loco_4", "loco_20170210_03"),
        ("mine", None),
    ],
)
def test_evaluation_session(name, expected):
    assert evaluation_session(name) == expected
