"""Session files made to harm: refused by name, with little memory and in little time."""

import json
import subprocess
import sys
import zlib
from functools import cache

import h5py
import numpy as np
import pytest

from session_files import random_session
from spikereach.config.sessions import Session
from spikereach.data.binning import BinnedSession, bin_session
from spikereach.data.errors import SessionError
from spikereach.data.hdf5 import fletcher32
from spikereach.identity import array_checksum

MEMORY = 512 * 2**20
"""Bytes of address space a reader may take up, beside what the interpreter has at its start."""
TIME_S = 60
CHANNELS, STEPS = 3, 2000

READER = """
import json, resource, sys
from pathlib import Path
from spikereach.config.sessions import Session
from spikereach.data.binning import BinnedSession, bin_session
from spikereach.data.errors import SessionError

kind, memory, channels, *paths = sys.argv[1:]
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(memory)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
session = Session("x", "monkey", {"M1": int(channels)})
for path in paths:
    message = None
    try:
        BinnedSession.load(path) if kind == "binned" else bin_session(path, session)
    except SessionError as error:
        message = str(error)
    print(json.dumps(message), flush=True)
"""


def refusals(paths, kind="session"):
    """The messages with which a process of its own refuses files; None for one that it reads."""
    done = subprocess.run(
        [sys.executable, "-c", READER, kind, str(MEMORY), str(CHANNELS), *paths],
        capture_output=True,
        text=True,
        timeout=TIME_S,
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    # Whatever else came out, a crash of a library among it, came with the next file.
    last = paths[min(len(messages), len(paths) - 1)]
    assert done.returncode == 0, f"{last}: {done.returncode}: {done.stderr[-2000:]}"
    for path, message in zip(paths, messages, strict=True):
        assert message is None or (message.startswith(f"{path}: ") and "\n" not in message)
    return messages


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path, names = tmp_path_factory.mktemp("sound") / "a.mat", ["M1 001", "M1 002", "M1 003"]
    return random_session(path, channels=CHANNELS, steps=STEPS, names=names)


def put(file, name, **options):
    """Another dataset in place of a field."""
    del file[name]
    return file.create_dataset(name, **options)


def refer(file, name, target, index=(0, 0)):
    """Another target of a cell."""
    references = file[name][()]
    references[index] = target
    file[name][...] = references


def stored(file, name, raw, *, shape, mask=0):
    """A dataset of one gzip chunk with these bytes."""
    dataset = file.create_dataset(name, shape, "f8", chunks=shape, compression="gzip")
    dataset.id.write_direct_chunk((0, 0), raw, mask)
    return dataset


@cache
def zeros():
    """400 MB, compressed."""
    return zlib.compress(bytes(400 * 2**20), 9)


def soft_link_to_itself(file):
    del file["t"]
    file["t"] = h5py.SoftLink("/t")


def soft_links_in_a_ring(file):
    del file["t"]
    file["t"], file["u"] = h5py.SoftLink("/u"), h5py.SoftLink("/t")


def dangling_external_link(file):
    del file["t"]
    file["t"] = h5py.ExternalLink("/dev/zero", "/t")


def cyclic_groups(file):
    del file["t"]
    file["t"] = file["#refs#"]
    file["#refs#/up"] = file["/"]
    file["#refs#/self"] = file["#refs#"]


def reference_to_a_cyclic_group(file):
    group = file.create_group("round")
    group["round"] = group
    refer(file, "spikes", group.ref)


def reference_to_the_cells_themselves(file):
    refer(file, "spikes", file["spikes"].ref)


def reference_to_a_named_type(file):
    file["type"] = np.dtype("f8")
    refer(file, "spikes", file["type"].ref)


def region_references(file):
    reference = file["t"].regionref[:, :3]
    put(file, "spikes", data=np.full((1, 3), reference, h5py.regionref_dtype))


def millions_of_cells(file):
    # 4 million empty references are 32 MB in the file and a hundred times that as objects.
    put(file, "spikes", shape=(1, 4_000_000), dtype=h5py.ref_dtype)
    file["spikes"][0, -1] = file["t"].ref


def millions_of_names(file):
    put(file, "chan_names", shape=(1, 4_000_000), dtype=h5py.ref_dtype)
    file["chan_names"][0, -1] = file["t"].ref


def a_name_of_millions(file):
    name = file.create_dataset(
        "name", data=np.full((8_000_000, 1), 0x4E00, "u2"), compression="gzip"
    )
    refer(file, "chan_names", name.ref)


def a_name_beyond_unicode(file):
    name = file.create_dataset("name", data=np.full((3, 1), 2**40, "u8"))
    refer(file, "chan_names", name.ref)


def huge_contiguous(file):
    put(file, "t", shape=(1, 10**12), dtype="f8")


def huge_chunked(file):
    put(file, "t", shape=(1, 10**15), dtype="f8", chunks=(1, 2**20), compression="gzip")


def huge_chunk(file):
    put(file, "t", shape=(1, 200), maxshape=(1, None), dtype="f8", chunks=(1, 2**28))


def more_dimensions_than_sense(file):
    put(file, "t", shape=(2,) * 30, dtype="f8", chunks=(1,) * 30)


def product_beyond_64_bits(file):
    put(file, "t", shape=(2**31, 2**31, 2**31), dtype="f8", chunks=(1, 1, 1))


def bomb_of_declared_size(file):
    # Honest about its 1.6 GB; the file has less than 2 MB.
    raw = zlib.compress(bytes(2**20), 9)
    bomb = file.create_dataset("b", (1, 200 * 2**20), "f8", chunks=(1, 2**17), compression="gzip")
    for number in range(200):
        bomb.id.write_direct_chunk((0, number * 2**17), raw)
    refer(file, "spikes", bomb.ref)


def bomb_beyond_declared_size(file):
    del file["t"]
    stored(file, "t", zeros(), shape=(1, STEPS))


def bomb_of_bombs(file):
    del file["t"]
    stored(file, "t", zlib.compress(zeros(), 9), shape=(1, STEPS))


def chunk_without_end(file):
    raw = zlib.compress(np.arange(STEPS, dtype=float).tobytes())
    del file["t"]
    stored(file, "t", raw[:-4], shape=(1, STEPS))


def filter_of_two_inflations(file):
    space = h5py.h5s.create_simple((1, STEPS))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, STEPS))
    for _ in range(2):
        plist.set_deflate(9)
    del file["t"]
    h5py.h5d.create(file.id, b"t", h5py.h5t.NATIVE_DOUBLE, space, plist)


def cells_in_a_bomb(file):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, CHANNELS))
    plist.set_deflate(9)
    plist.set_fletcher32()
    space = h5py.h5s.create_simple((1, CHANNELS))
    del file["spikes"]
    cells = h5py.h5d.create(file.id, b"spikes", h5py.h5t.STD_REF_OBJ, space, plist)
    raw = zeros()
    cells.write_direct_chunk((0, 0), raw + fletcher32(raw).to_bytes(4, "little"))


def cells_in_fewer_bytes(file):
    raw = zlib.compress(bytes(8 * CHANNELS - 1))
    put(file, "spikes", shape=(1, CHANNELS), dtype=h5py.ref_dtype, chunks=True, compression="gzip")
    file["spikes"].id.write_direct_chunk((0, 0), raw)


def text_of_varying_length(file):
    put(file, "t", data=np.array([["x" * 10**6] * 3], object), dtype=h5py.string_dtype())


def compound(file):
    put(file, "t", data=np.zeros((1, STEPS), [("a", "f8"), ("b", "f8")]))


def no_shape_at_all(file):
    put(file, "t", data=h5py.Empty("f8"))


HOSTILE = {
    soft_link_to_itself: "t: is a link",
    soft_links_in_a_ring: "t: is a link",
    dangling_external_link: "t: is a link",
    cyclic_groups: "t: is not an array but Group",
    reference_to_a_cyclic_group: "unit 0): is not an array but Group",
    reference_to_the_cells_themselves: "unit 0): has the type object",
    reference_to_a_named_type: "unit 0): is not an array but Type",
    region_references: "spikes: is no cell array",
    millions_of_cells: "at most 100000 are read",
    millions_of_names: "at most 100000 are read",
    a_name_of_millions: "at most 1000 are read",
    a_name_beyond_unicode: "chan_names (channel 0): cannot be read",
    huge_contiguous: "t: declares 8000000000000 bytes",
    huge_chunked: "t: declares 8000000000000000 bytes",
    huge_chunk: "t: declares 1600 bytes",
    more_dimensions_than_sense: "t: declares 8589934592 bytes",
    product_beyond_64_bits: f"t: declares {8 * 2**93} bytes",
    bomb_of_declared_size: "unit 0): declares 1677721600 bytes",
    bomb_beyond_declared_size: "t: has a damaged chunk",
    bomb_of_bombs: "t: has a damaged chunk",
    chunk_without_end: "t: has a damaged chunk",
    filter_of_two_inflations: "t: is compressed twice",
    cells_in_a_bomb: "spikes: has a damaged chunk",
    cells_in_fewer_bytes: "spikes: has a damaged chunk",
    text_of_varying_length: "t: has the type object",
    compound: "t: has the type [",
    no_shape_at_all: "t: has no shape",
}
"""Harm -> what the message says of it, not for want of memory."""


@pytest.fixture(scope="module")
def refused(sound, tmp_path_factory):
    """Name of a harm -> the message for a file that suffered it."""
    folder, content = tmp_path_factory.mktemp("hostile"), sound.read_bytes()
    paths = [folder / f"{harm.__name__}.mat" for harm in HOSTILE]
    for harm, path in zip(HOSTILE, paths, strict=True):
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            harm(file)
    return dict(zip([path.stem for path in paths], refusals(paths), strict=True))


def test_the_file_itself_is_sound(sound):
    assert refusals([sound]) == [None]


@pytest.mark.parametrize("harm", HOSTILE, ids=lambda harm: harm.__name__)
def test_hostile_session(refused, harm):
    assert HOSTILE[harm] in refused[harm.__name__]


# ---- Binned sessions: whoever forges one gives it a right checksum -------------------------


def forged(path, *, header=None, **arrays):
    """Another content of a binned session, with the checksum that belongs to it."""
    with h5py.File(path, "r+") as file:
        fields = json.loads(file.attrs["header"]) | (header or {})
        # What does not fit into an attribute's 64 KB goes into its dense storage.
        content = {name: file[name][()] for name in ("spikes", "position", "segments")} | arrays
        text = json.dumps(fields, sort_keys=True)
        file.attrs["header"] = text
        file.attrs["sha256"] = array_checksum(content, text)
        for name, values in arrays.items():
            put(file, name, data=values, chunks=values.shape, compression="gzip")


@pytest.fixture
def binned(sound, tmp_path):
    target = tmp_path / "a.h5"
    bin_session(sound, Session("x", "monkey", {"M1": CHANNELS})).save(target)
    return target


def test_the_binned_session_itself_is_sound(binned):
    forged(binned)
    assert refusals([binned], "binned") == [None]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        # 2,000 steps of a million channels would be 2 GB.
        ("spikes", {"header": {"areas": ["M1"] * 10**6}}),
        ("spikes", {"header": {"areas": []}}),
        ("position", {"spikes": np.zeros((STEPS + 1, 1), np.uint8)}),
        ("spikes", {"spikes": np.zeros((STEPS, 1), np.uint16)}),
        ("spikes", {"spikes": np.zeros((STEPS, 1, 1), np.uint8)}),
        ("header", {"header": {"areas": {"M1": 1, "S1": 2, "x": 3}}}),
        ("header", {"header": {"areas": [[], {}, None]}}),
        ("header", {"header": {"name": ["../../x"]}}),
        ("header", {"header": {"provenance": "none"}}),
        ("header", {"header": {"start_s": "0"}}),
        ("header", {"header": {"start_s": float("nan")}}),
        ("position", {"position": np.zeros((STEPS, 3), np.float32)}),
        ("position", {"position": np.zeros((STEPS, 2))}),
        ("position", {"position": np.full((STEPS, 2), np.nan, np.float32)}),
        ("segments", {"segments": np.array([[0, 10**15]])}),
        ("segments", {"segments": np.array([[-5, STEPS]])}),
        ("segments", {"segments": np.array([[0, STEPS], [0, STEPS]])}),
        ("segments", {"segments": np.array([[0, 900, STEPS]])}),
        ("segments", {"segments": np.array([[0, 900], [900, 500], [500, STEPS]])}),
    ],
    ids=lambda value: None,
)
def test_hostile_binned_session(binned, field, change):
    forged(binned, **change)
    with pytest.raises(SessionError, match=rf"a\.h5: {field}: does not fit the other fields"):
        BinnedSession.load(binned)


def test_a_header_nested_beyond_measure(binned):
    with h5py.File(binned, "r+") as file:
        content = {name: file[name][()] for name in ("spikes", "position", "segments")}
        file.attrs["header"] = "[" * 50_000
        file.attrs["sha256"] = array_checksum(content, file.attrs["header"])
    assert "a.h5: content: cannot be read" in refusals([binned], "binned")[0]
