"""What a file is follows from its content, whatever its name."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import all_kinds
from spikereach.kinds import Kind, is_web_page, kind_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return all_kinds.make(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_recognised_under_any_name(kind, made, tmp_path):
    assert kind_of(made[kind]) is kind
    for name in ("rec.mat", "rec.MAT?download=1", "x.h5", "x.csv"):
        link = tmp_path / name
        link.symlink_to(made[kind])
        assert kind_of(link) is kind


def test_nothing_is_of_no_kind(tmp_path, made):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert kind_of(tmp_path / "link") is None
    assert kind_of(tmp_path / "nowhere") is None
    assert kind_of(made[Kind.TEXT] / "below") is None


def test_other_forms_of_the_same_kinds(tmp_path):
    path = tmp_path / "file"
    with h5py.File(path, "w") as file:
        file["velocity"] = np.zeros((3, 2))
        file.attrs["dt_s"] = 0.004
    assert kind_of(path) is Kind.VELOCITIES
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    assert kind_of(path) is Kind.SESSION, "cut off, but what is left says so"
    with h5py.File(path, "w") as file:
        file["nwb_version"] = "NWB-1.0.6"
    assert kind_of(path) is Kind.NWB, "of version 1"
    path.write_text("ü" * 8191)
    assert kind_of(path) is Kind.TEXT, "the head ends inside a character"
    for text in ('{"half": ', "[" * 10**5, "{}"):
        path.write_text(text)
        assert kind_of(path) is Kind.TEXT


def test_velocities_with_more_beside_them_are_somebody_elses(tmp_path):
    """``decode`` would write over its own."""
    path = tmp_path / "file"
    with h5py.File(path, "w") as file:
        file["velocity"], file["force"] = np.zeros((2, 3, 2))
        file.attrs["dt_s"] = 0.004
    assert kind_of(path) is Kind.HDF5
    header = "step,time_s,velocity_x,velocity_y"
    path.write_text(f"{header},force\n0,0.000,1,2,3\n")
    assert kind_of(path) is Kind.TEXT
    path.write_bytes(f"{header}\r\n0,0.000,1,2\r\n".encode())
    assert kind_of(path) is Kind.VELOCITIES


@pytest.mark.parametrize("kind", [Kind.SESSION, Kind.BINNED, Kind.PREDICTIONS, Kind.CHECKPOINT])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_truncated_file_is_never_taken_for_text_or_nothing(kind, share, made, tmp_path):
    content = made[kind].read_bytes()
    (tmp_path / "file").write_bytes(content[: max(9, int(share * len(content)))])
    assert kind_of(tmp_path / "file") in (kind, Kind.HDF5, Kind.UNKNOWN)


@given(st.binary(max_size=2000))
def test_any_bytes_have_a_kind(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    assert kind_of(path) in Kind


@pytest.mark.parametrize(
    "head",
    [
        b"<!DOCTYPE html>", b"<!doctype HTML PUBLIC", b"\r\n<HTML lang=en>", b"<!-- x --><html>",
        b'<?xml version="1.0"?>\n<!DOCTYPE html>',
    ],
)  # fmt: skip
def test_web_pages(head):
    assert is_web_page(head)
    assert not is_web_page(b"x" + head)
    assert not is_web_page(b"\x89HDF\r\n\x1a\n" + head)
