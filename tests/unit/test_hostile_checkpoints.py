"""Checkpoints made to harm: nothing in them is executed, and little memory is taken."""

import json
import os
import re
import struct
import sys

import pytest
import torch

from spikereach.models import tensorfile
from spikereach.models.checkpoint import KIND, CheckpointError, load, save
from spikereach.models.zoo import build
from training_cases import CHANNELS, TRUST, checkpoint, rsnn


@pytest.fixture
def path(tmp_path):
    """A sound checkpoint of a decoder of the package."""
    path = tmp_path / "checkpoint.safetensors"
    save(checkpoint(build(rsnn(), CHANNELS), rsnn()), path)
    return path


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    return message


def forge(path, *, tensors=None, **changes):
    """Other content with the checksum that belongs to it: anybody can compute one."""
    own, metadata = tensorfile.read(path, KIND)
    tensorfile.write(path, KIND, own | (tensors or {}), metadata | changes)


def header(path):
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:begin]), content[begin:]


def write(path, text, data):
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    "architecture",
    ["os:system", "subprocess:Popen", "builtins:exec", "intruder:Decoder", TRUST, "../x:y"],
)
def test_an_architecture_by_name_is_neither_imported_nor_called(
    path, tmp_path, monkeypatch, architecture
):
    (tmp_path / "intruder.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    system = rsnn().model_dump(mode="json")
    system |= {"architecture": architecture, "sizes": {"command": "touch executed"}}
    forge(path, system=system)
    assert f"{architecture!r} from outside spikereach" in refusal(path)
    assert "intruder" not in sys.modules
    assert not (tmp_path / "executed").exists()


def test_an_architecture_without_a_name(path):
    forge(path, system=rsnn().model_dump(mode="json") | {"architecture": ":"})
    assert "unknown architecture ':'" in refusal(path)


@pytest.mark.parametrize("architecture", ["os:system", "subprocess:Popen", "builtins:exec"])
def test_trust_in_something_that_is_no_decoder(path, architecture):
    system = rsnn().model_dump(mode="json")
    forge(path, system=system | {"architecture": architecture, "sizes": {}})
    with pytest.raises(CheckpointError, match="is no Decoder"):
        load(path, trust=[architecture])


@pytest.mark.parametrize("length", [2**24 + 1, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_enormous_length(path, length):
    content = bytearray(path.read_bytes())
    content[:8] = struct.pack("<Q", length)
    path.write_bytes(content)
    assert f"its header declares {length} bytes" in refusal(path)


def test_a_file_of_holes(path):
    os.truncate(path, 2**40)
    assert f"its file declares {2**40} bytes" in refusal(path)


def test_overlapping_tensors(path):
    fields, data = header(path)
    names = [name for name in fields if name != "__metadata__"]
    for name in names:
        size = fields[name]["data_offsets"][1] - fields[name]["data_offsets"][0]
        fields[name]["data_offsets"] = [0, size]
    write(path, json.dumps(fields).encode(), data)
    assert "damaged" in refusal(path)


def test_tensors_beyond_the_end(path):
    fields, data = header(path)
    name = next(name for name in fields if name != "__metadata__")
    fields[name] |= {"shape": [2**40], "data_offsets": [0, 2**42]}
    write(path, json.dumps(fields).encode(), data)
    assert "damaged" in refusal(path)


def test_a_tensor_twice(path):
    fields, data = header(path)
    name = next(name for name in fields if name != "__metadata__")
    text = json.dumps(fields)
    again = json.dumps({name: fields[name] | {"shape": [1], "data_offsets": [0, 4]}})[1:-1]
    write(path, (text[:-1] + "," + again + "}").encode(), data)
    assert "damaged" in refusal(path)


def test_metadata_nested_beyond_measure(path):
    fields, data = header(path)
    for text in ("[" * 10**6, '{"a":' * 10**5, "[" * 10**5 + "]" * 10**5):
        fields["__metadata__"] = {tensorfile.KEY: text}
        write(path, json.dumps(fields).encode(), data)
        assert "is a foreign safetensors file, not a checkpoint" in refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(path, value):
    tensors, _ = tensorfile.read(path, KIND)
    name, tensor = next(iter(tensors.items()))
    changed = tensor.clone()
    changed.view(-1)[-1] = value
    forge(path, tensors={name: changed})
    assert f"{name} has values that are no finite numbers" in refusal(path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_of_another_type(path, dtype):
    tensors, _ = tensorfile.read(path, KIND)
    name, tensor = next(iter(tensors.items()))
    forge(path, tensors={name: tensor.to(dtype)})
    assert f"{name} is {dtype}" in refusal(path)


@pytest.mark.parametrize("name", ["output_scale", "output_offset"])
def test_units_that_are_no_numbers(path, name):
    forge(path, **{name: [1.0, float("nan")]})
    assert "no finite numbers" in refusal(path)


def test_one_tensor_too_many(path):
    forge(path, tensors={"__class__": torch.zeros(1)})
    assert "unexpected __class__" in refusal(path)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"hidden": 10**9}, "the largest possible is"),
        ({"hidden": 16_384}, "expected (16384, "),  # 1 GB of weights
        ({"hidden": -1}, ""),
        ({"hidden": 0}, ""),
        ({"hidden": "8"}, ""),
        ({"hidden": 8, "readouts": [[50.0, 10.0]] * 500}, "expected (1000,)"),
        ({"hidden": 8, "__class__": "os:system"}, "no size"),
    ],
)
def test_sizes_that_the_tensors_do_not_have(path, sizes, expected):
    system = rsnn().model_dump(mode="json")
    forge(path, system=system | {"sizes": sizes})
    assert re.search(re.escape(expected), refusal(path))


def test_more_channels_than_the_tensors_have(path):
    forge(path, areas=["M1"] * 10**5)
    assert "expected (" in refusal(path)
