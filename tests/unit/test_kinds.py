"""What a file is follows from its content, whatever its name."""

import json
import os
import shutil

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

import handmade_results
from session_files import random_session
from spikereach.config.sessions import Session
from spikereach.data.binning import bin_session
from spikereach.kinds import Kind, is_web_page, kind_of
from spikereach.models import checkpoint, tensorfile
from training_cases import checkpoint as tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of each kind that packages other than ours, or our own writers, make."""
    folder = tmp_path_factory.mktemp("made")
    made = {kind: folder / f"file{number}" for number, kind in enumerate(Kind)}
    random_session(made[Kind.SESSION], channels=3, steps=2000)
    bin_session(made[Kind.SESSION], Session("s", "m", {"M1": 3})).save(made[Kind.BINNED])
    checkpoint.save(tiny(), made[Kind.CHECKPOINT])
    tensorfile.write(made[Kind.RESUME], "resume file", {"sums": torch.zeros(3)}, {})
    with h5py.File(made[Kind.PREDICTIONS], "w") as file:
        for name in ("predicted", "velocity", "position", "spikes"):
            file[name] = np.zeros((3, 2))
        file.attrs["first_step"] = 0
    made[Kind.VELOCITIES].write_text("step,time_s,velocity_x,velocity_y\n0,0.000,1,2\n")
    about = ("RTnet", "indy_20160622_01", 0)
    made[Kind.METRICS].write_text(json.dumps(handmade_results.metrics(*about)))
    made[Kind.REALTIME].write_text(json.dumps(handmade_results.realtime(*about)))
    made[Kind.RESULTS].mkdir()
    shutil.copy(made[Kind.METRICS], made[Kind.RESULTS] / "metrics.json")
    made[Kind.RESULTS_PAGE].write_text(
        '<!DOCTYPE html>\n<meta name="generator" content="spikereach">\n'
    )
    made[Kind.OLD_MATLAB].write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + b"\0")
    torch.save({"weight": torch.zeros(3)}, made[Kind.PYTORCH])
    safetensors.torch.save_file({"weight": torch.zeros(3)}, made[Kind.SAFETENSORS])
    with h5py.File(made[Kind.HDF5], "w") as file:
        file["other"] = 1
    made[Kind.WEB_PAGE].write_text("\ufeff \n<html><title>Just a moment</title>")
    made[Kind.TEXT].write_text("tables: {coopt: [RTnet]}\n")
    made[Kind.EMPTY].touch()
    made[Kind.FOLDER].mkdir()
    os.mkfifo(made[Kind.SPECIAL])
    made[Kind.UNKNOWN].write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    return made


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
    path.write_text("ü" * 8191)
    assert kind_of(path) is Kind.TEXT, "the head ends inside a character"
    for text in ('{"half": ', "[" * 10**5, "{}"):
        path.write_text(text)
        assert kind_of(path) is Kind.TEXT


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
