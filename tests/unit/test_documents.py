"""Documents beside the tables: all of them in one JSON file."""

import json

import pytest

from spikereach.reporting.documents import metrics
from spikereach.reporting.make import write

COOPT = """\
system,spiking,r2,r2_published,r2_std,footprint,realtime,published_source
Wiener,False,0.5,,,11528.0,False,
"RTnet, float32",True,0.75,0.7,0.01,30024.0,True,krausse2025
"""
SESSIONS = """\
system,origin,session,r2
Wiener,ours,I1,0.5
Wiener,ours,L1,0.25
Wiener,published,I1,0.125
"""


def numbers(paths):
    return json.loads(metrics(paths).texts[".json"])


@pytest.fixture
def tables(tmp_path):
    paths = tmp_path / "coopt.csv", tmp_path / "per_session.csv"
    for path, text in zip(paths, (COOPT, SESSIONS), strict=True):
        path.write_text(text)
    return paths


def test_numbers_stand_under_table_row_and_column(tables):
    found = numbers(tables)
    assert found["coopt"] == {
        "Wiener": {"r2": 0.5, "footprint": 11528.0},
        "RTnet, float32": {"r2": 0.75, "r2_std": 0.01, "footprint": 30024.0},
    }


def test_rows_are_named_by_as_many_columns_as_tell_them_apart(tables):
    assert numbers(tables)["per_session"] == {
        "Wiener": {
            "ours": {"I1": {"r2": 0.5}, "L1": {"r2": 0.25}},
            "published": {"I1": {"r2": 0.125}},
        }
    }


def test_name_that_is_missing_is_left_out(tables):
    tables[0].write_text(
        "system,session,weights,rank,r2\na,I1,I1,1,0.5\na,mean,,1,0.25\na,I1,x,2,1\n"
    )
    assert numbers(tables[:1])["coopt"] == {
        "a": {"I1": {"I1": {"rank": 1, "r2": 0.5}, "x": {"rank": 2, "r2": 1}},
              "mean": {"rank": 1, "r2": 0.25}},
    }  # fmt: skip


def test_file_is_equal_to_the_byte_whatever_the_order(tables, tmp_path):
    write(metrics(tables).files(), tmp_path / "first")
    write(metrics(reversed(tables)).files(), tmp_path / "second")
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    assert json.loads((tmp_path / "first.json").read_text()) == numbers(tables)
