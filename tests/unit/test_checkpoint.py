"""Checkpoints: exact round trips, and clear errors for everything else."""

import errno
import json
import os
import pickle
import resource
import sys
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikereach.files import WriteError
from spikereach.models import tensorfile
from spikereach.models.checkpoint import CheckpointError, load, save
from spikereach.models.zoo import build
from training_cases import CHANNELS, TRUST, TinyGRU, bits, checkpoint, rsnn, stage, system

relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save(checkpoint(), path)
    return path


def test_round_trip(saved):
    before = checkpoint()
    after = load(saved, trust=[TRUST])
    assert bits(after.decoder) == bits(before.decoder)
    for name in ("standardisation", "weight_format", "buffer_format", "folded"):
        assert getattr(after.decoder, name) == getattr(before.decoder, name)
    for name in ("system", "system_name", "dataset", "monkey", "areas", "seed", "provenance"):
        assert getattr(after, name) == getattr(before, name)
    assert not after.decoder.training
    spikes = torch.randint(0, 2, (20, 1, CHANNELS)).float()
    assert torch.equal(after.decoder(spikes)[0], before.decoder.eval()(spikes)[0])


def test_equal_checkpoints_are_equal_bytes(saved, tmp_path):
    other = tmp_path / "folder" / "other.safetensors"
    save(load(saved, trust=[TRUST]), other)
    assert other.read_bytes() == saved.read_bytes()
    assert sorted(os.listdir(other.parent)) == [other.name]


def test_half_precision_is_stored_as_float16(tmp_path):
    path = tmp_path / "half.safetensors"
    original = checkpoint()
    original.decoder.weight_format = original.decoder.buffer_format = "float16"
    save(original, path)
    stored = safetensors.torch.load_file(path)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    decoder = load(path, trust=[TRUST]).decoder
    assert decoder.weight_format == decoder.buffer_format == "float16"
    for name, parameter in decoder.named_parameters():
        assert parameter.dtype == torch.float16
        assert torch.equal(parameter, original.decoder.get_parameter(name).half())


def test_fixed_point_formats_and_folded_layers_come_back(tmp_path):
    sizes = {
        "blocks": 1, "kernel": 3, "conv_channels": 4, "lif_layers": 1, "lif_units": 5, "dropout": 0,
    }  # fmt: skip
    entry = system("hybrid", sizes=sizes, finetune=stage())
    original = checkpoint(build(entry, CHANNELS), entry)
    original.decoder.fold()
    original.decoder.weight_format, original.decoder.buffer_format = (1, 7), (1, 4)
    save(original, tmp_path / "fixed.safetensors")
    decoder = load(tmp_path / "fixed.safetensors").decoder
    assert bits(decoder) == bits(original.decoder)
    assert (decoder.weight_format, decoder.buffer_format, decoder.folded) == ((1, 7), (1, 4), True)
    unfolded = build(entry, CHANNELS).state_dict().keys()
    assert decoder.state_dict().keys() < unfolded


@relaxed
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_refused(saved, share):
    data = saved.read_bytes()
    cut = saved.with_name("cut.safetensors")
    cut.write_bytes(data[: int(share * len(data))])
    begin = 8 + int.from_bytes(data[:8], "little")
    # What is left has to tell that it is ours before somebody is told to delete it.
    expected = "delete it and make it again" if share * len(data) >= begin else "; give|: give"
    with pytest.raises(CheckpointError, match=rf"cut\.safetensors .*({expected})"):
        load(cut, trust=[TRUST])


@relaxed
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_altered_files_are_refused(saved, place, flip):
    data = bytearray(saved.read_bytes())
    index = int(place * len(data))
    data[index] ^= flip
    altered = saved.with_name("altered.safetensors")
    altered.write_bytes(data)
    begin = 8 + int.from_bytes(saved.read_bytes()[:8], "little")
    if index < begin and chr(data[index] ^ flip).isspace():
        return  # padding between the header and the tensors means nothing
    with pytest.raises(CheckpointError, match=r"altered\.safetensors"):
        load(altered, trust=[TRUST])


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


def test_foreign_files_are_refused_and_not_executed(tmp_path, monkeypatch):
    bomb = tmp_path / "executed"
    monkeypatch.setenv("BOMB", str(bomb))
    files = {
        "pickle": pickle.dumps(Bomb()),
        "text": b"hello, world, this is no checkpoint",
        "empty": b"",
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(512),
        "tensors": safetensors.torch.save({"weight": torch.ones(3)}),
        "nested": safetensors.torch.save({}, {"spikereach": "[" * 100_000}),
        "list": safetensors.torch.save({}, {"spikereach": "[]"}),
    }
    torch.save(Bomb(), tmp_path / "torch.safetensors")
    for name, data in files.items():
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    for name in [*files, "torch"]:
        with pytest.raises(CheckpointError, match=rf"{name}\.safetensors is .*give a") as caught:
            load(tmp_path / f"{name}.safetensors")
        assert "delete" not in str(caught.value)
    with pytest.raises(CheckpointError, match="make this checkpoint first"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError):
        load(tmp_path)
    assert not bomb.exists()


def test_a_resume_file_is_no_checkpoint(tmp_path):
    tensorfile.write(tmp_path / "resume", "resume file", {"a": torch.ones(2)}, {})
    with pytest.raises(CheckpointError, match="is a resume file, not a checkpoint"):
        load(tmp_path / "resume")


def test_an_untrusted_architecture_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("import training_cases\nModel = training_cases.TinyGRU\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    save(checkpoint(entry=system("stranger:Model", finetune=stage())), path)
    with pytest.raises(CheckpointError, match=r"'stranger:Model' from .* add --trust stranger:M"):
        load(path)
    assert "stranger" not in sys.modules
    assert isinstance(load(path, trust=["stranger:Model"]).decoder, TinyGRU)


def forged(path, **changes):
    """A file with a right checksum and other metadata."""
    tensors, metadata = tensorfile.read(path, "checkpoint")
    tensorfile.write(path, "checkpoint", tensors, metadata | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"areas": ["M1"] * 5},
        {"system": {"architecture": "rsnn"}},
        {"system": rsnn().model_dump(mode="json")},
        {"weight_format": [1, 7, 3]},
        {"output_scale": ["a", "b"]},
        {"provenance": 3},
        {"seed": "none"},
    ],
    ids=json.dumps,
)
def test_metadata_that_do_not_fit(saved, changes):
    forged(saved, **changes)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors does not fit"):
        load(saved, trust=[TRUST])


def test_a_full_disk_leaves_the_earlier_file(saved):
    before = saved.read_bytes()
    larger = replace(checkpoint(), decoder=TinyGRU(channels=CHANNELS, hidden=300))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"cannot be written .*free disk space"):
            save(larger, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_failing_disk_leaves_the_earlier_file(saved, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        save(checkpoint(), saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("value", [0.1, -1e-45, 1e308, 1 / 3])
def test_numbers_in_metadata_are_exact(tmp_path, value):
    tensorfile.write(tmp_path / "file", "checkpoint", {}, {"value": value})
    assert tensorfile.read(tmp_path / "file", "checkpoint")[1] == {"value": value}
