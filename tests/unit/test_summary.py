"""All tables in one JSON file."""

import json

import pytest

from spikereach.reporting import summary

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


@pytest.fixture
def tables(tmp_path):
    paths = tmp_path / "coopt.csv", tmp_path / "per_session.csv"
    for path, text in zip(paths, (COOPT, SESSIONS), strict=True):
        path.write_text(text)
    return paths


def test_numbers_stand_under_table_row_and_column(tables):
    found = summary.summarise(tables)
    assert found["coopt"] == {
        "Wiener": {"r2": 0.5, "footprint": 11528.0},
        "RTnet, float32": {"r2": 0.75, "r2_std": 0.01, "footprint": 30024.0},
    }


def test_rows_are_named_by_as_many_columns_as_tell_them_apart(tables):
    assert summary.summarise(tables)["per_session"] == {
        "Wiener": {
            "ours": {"I1": {"r2": 0.5}, "L1": {"r2": 0.25}},
            "published": {"I1": {"r2": 0.125}},
        }
    }


def test_file_is_equal_to_the_byte_whatever_the_order(tables, tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    summary.write(summary.summarise(tables), first)
    summary.write(summary.summarise(reversed(tables)), second)
    assert first.read_bytes() == second.read_bytes()
    assert json.loads(first.read_text()) == summary.summarise(tables)


def test_no_number_is_not_written_as_one(tables, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        summary.write({"coopt": {"Wiener": {"r2": float("nan")}}}, tmp_path / "metrics.json")
    assert not (tmp_path / "metrics.json").exists()
