"""Reading session files, sound and damaged."""

import io
import itertools
import os
import resource
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from session_files import random_session, read, write_session
from spikereach.data.errors import SessionError
from spikereach.data.hdf5 import fletcher32
from spikereach.data.matfile import SessionFile

STEPS = 50
T = 10 + 0.004 * np.arange(STEPS)
SPIKES = (([10.1, 10.15], [10.05]),)


@pytest.fixture
def session(tmp_path):
    """A sound file of two units and three channels."""
    return random_session(tmp_path / "a.mat", channels=3, steps=200, names=["a", "b", "M1 003"])


def small(path, *, spikes=SPIKES, t=T, cursor=None, target=None, **options):
    positions = np.arange(2.0 * len(t)).reshape(2, -1)
    cursor = positions if cursor is None else cursor
    target = positions if target is None else target
    return write_session(path, spikes, t, cursor, target, **options)


def replace(path, name, **options):
    """Put another dataset in place of a field."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, **options)


def refusal(path) -> str:
    """The message with which a file is refused; always one line that names the file."""
    with pytest.raises(SessionError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("compression", ["gzip", None])
@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8"])
def test_values_come_back(tmp_path, compression, userblock, dtype):
    rng = np.random.default_rng(3)
    spikes = [
        [np.sort(rng.uniform(10, 10.2, n)).astype(dtype) for n in counts]
        for counts in ([5, 0, 1], [0, 0, 7], [2, 0, 0])
    ]
    cursor, target = rng.normal(size=(2, 2, STEPS)).astype(dtype)
    path = write_session(
        tmp_path / "a.mat",
        spikes,
        T,
        cursor,
        target,
        names=["M1 001", "M1 002", "S1 001"],
        compression=compression,
        userblock=userblock,
    )
    raw = read(path)
    for channel, times in enumerate(raw.spikes):
        expected = np.sort(np.concatenate([unit[channel] for unit in spikes]).astype(float))
        np.testing.assert_array_equal(times, expected)
        assert times.dtype == np.float64
    np.testing.assert_array_equal(raw.t, T)
    np.testing.assert_array_equal(raw.cursor_pos, cursor)
    np.testing.assert_array_equal(raw.target_pos, target)
    assert raw.cursor_pos.dtype.isnative
    assert raw.names == ("M1 001", "M1 002", "S1 001")


def test_shuffled_and_uncompressed_chunks_come_back(tmp_path):
    path = small(tmp_path / "a.mat")
    values = np.random.default_rng(0).normal(size=(2, STEPS))
    for options in ({"shuffle": True, "compression": "gzip"}, {"shuffle": True}, {}):
        replace(path, "cursor_pos", data=values, chunks=(2, 7), **options)
        np.testing.assert_array_equal(read(path).cursor_pos, values)


# hdf5storage's default, and what MATLAB makes of cell arrays that are large.
CHECKED = {"chunks": (1, 2), "compression": "gzip", "shuffle": True, "fletcher32": True}


@pytest.mark.parametrize("cells_as", [CHECKED, {"chunks": (1, 2)}, {"fletcher32": True}])
def test_chunked_cells_and_checksums_come_back(tmp_path, session, cells_as):
    names = ["a", "b", "M1 003"]
    options = {"names": names, "fletcher32": True, "cells_as": cells_as}
    path = random_session(tmp_path / "checked.mat", channels=3, steps=200, **options)
    found, plain = read(path), read(session)
    for ours, theirs in zip(found.spikes, plain.spikes, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.cursor_pos, plain.cursor_pos)
    assert found.names == plain.names == tuple(names)


FILTERS = {
    "set_shuffle": (),
    "set_deflate": (4,),
    "set_fletcher32": (),
}


@pytest.mark.parametrize(
    "order", [order for n in range(4) for order in itertools.permutations(FILTERS, n)], ids=str
)
@pytest.mark.parametrize("dtype", [">f4", "<f8"])
def test_filters_in_any_order_are_undone(session, order, dtype):
    """The HDF5 library itself is who writes them."""
    values = np.random.default_rng(0).normal(size=(2, 200)).astype(dtype)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((2, 33))
    for name in order:
        getattr(plist, name)(*FILTERS[name])
    with h5py.File(session, "r+") as file:
        del file["cursor_pos"]
        space, kind = h5py.h5s.create_simple(values.shape), h5py.h5t.py_create(values.dtype)
        dataset = h5py.h5d.create(file.id, b"cursor_pos", kind, space, plist)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    np.testing.assert_array_equal(read(session).cursor_pos, values)


@given(
    st.binary(max_size=70)
    | st.builds(bytes, st.integers(0, 3))
    | st.tuples(st.sampled_from([0, 1, 255]), st.integers(0, 3 * 2**17)).map(
        lambda drawn: bytes([drawn[0]]) * drawn[1]
    )
)
@example(b"\xff\xff")
@example(b"\x00\x01" * 0xFFFF)
def test_checksums_are_those_of_the_hdf5_library(content):
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        values = np.frombuffer(content + b"\0" * (not content), np.uint8)
        dataset = file.create_dataset("a", data=values, chunks=values.shape, fletcher32=True)
        _, stored = dataset.id.read_direct_chunk((0,))
    assert stored == values.tobytes() + fletcher32(values.tobytes()).to_bytes(4, "little")


@pytest.mark.parametrize("field", ["spikes", "cursor_pos"])
def test_a_flipped_bit_under_a_checksum_is_found(tmp_path, field):
    path = random_session(
        tmp_path / "a.mat", channels=3, steps=200, compression=None, cells_as=CHECKED
    )
    with h5py.File(path, "r+") as file:
        if field == "cursor_pos":
            values = file[field][()]
            del file[field]
            file.create_dataset(field, data=values, fletcher32=True, chunks=(2, 200))
        info = file[field].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[info.byte_offset + info.size - 6] ^= 1  # the last of the values, or gzip's own checksum
    path.write_bytes(content)
    assert f"{field}: has a damaged chunk at (0, 0)" in refusal(path)


def test_the_real_recording(shared):
    path = shared / "recordings" / "chewie_20131003_01.mat"
    raw = read(path)
    assert len(raw.spikes) == 174
    assert raw.t.shape == (41000,)
    with h5py.File(path) as file:
        for channel in (0, 100):
            cells = [np.ravel(file[cell][()]) for cell in file["spikes"][:, channel]]
            expected = np.sort(np.concatenate([c for c in cells if c.dtype == float]))
            np.testing.assert_array_equal(raw.spikes[channel], expected)
        np.testing.assert_array_equal(raw.cursor_pos, file["cursor_pos"][()])


def test_spikes_outside_t_are_kept_for_the_binning_to_drop(tmp_path):
    path = small(tmp_path / "a.mat", spikes=(([9.0, 10.1, 10.15, 99.0],),))
    assert read(path).spikes[0].size == 4


def test_a_file_without_channel_names_has_none(tmp_path):
    assert read(small(tmp_path / "a.mat")).names == ()


def test_a_missing_file(tmp_path):
    assert "does not exist; check the path" in refusal(tmp_path / "none.mat")
    assert "is a folder" in refusal(tmp_path)


def test_a_file_that_is_not_hdf5(tmp_path):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" * 100)
    assert "is a MATLAB file older than v7.3, not a session file; save it" in refusal(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file" * 100)
    assert "file signature not found" in refusal(path)
    path.write_bytes(b"")
    assert "is an empty file" in refusal(path)


def test_a_truncated_file(session):
    data = session.read_bytes()
    session.write_bytes(data[: len(data) * 2 // 3])
    assert "truncated" in refusal(session)


@pytest.mark.parametrize("field", ["spikes", "t", "cursor_pos", "target_pos"])
def test_a_missing_field(session, field):
    with h5py.File(session, "r+") as file:
        del file[field]
    assert f"{field}: missing" in refusal(session)


@pytest.mark.parametrize("field", ["spikes", "t", "cursor_pos", "target_pos", "chan_names"])
@pytest.mark.parametrize("kind", ["soft", "external"])
def test_links_are_not_followed(session, tmp_path, field, kind):
    other = random_session(tmp_path / "b.mat", channels=3, steps=200, names=["a", "b", "c"])
    with h5py.File(session, "r+") as file:
        file.move(field, "moved")
        file[field] = (
            h5py.SoftLink("/moved") if kind == "soft" else h5py.ExternalLink(str(other), field)
        )
    assert f"{field}: is a link" in refusal(session)


def test_values_in_other_files_are_not_read(session, tmp_path):
    (tmp_path / "values").write_bytes(bytes(8 * 400))
    external = [(str(tmp_path / "values"), 0, 8 * 400)]
    replace(session, "cursor_pos", shape=(2, 200), dtype="f8", external=external)
    assert "cursor_pos: keeps its values in another file" in refusal(session)
    with h5py.File(session, "r+") as file:
        del file["cursor_pos"]
        layout = h5py.VirtualLayout((2, 200), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "b.mat"), "cursor_pos", (2, 200))
        file.create_virtual_dataset("cursor_pos", layout)
    assert "cursor_pos: keeps its values in another file" in refusal(session)


def test_values_in_other_files_are_not_read_though_an_address_points_here(session, tmp_path):
    (tmp_path / "values").write_bytes(bytes(8 * 400))
    external = [(str(tmp_path / "values"), 0, 8 * 400)]
    replace(session, "cursor_pos", shape=(2, 200), dtype="f8", external=external)
    size = (8 * 400).to_bytes(8, "little")
    contiguous = b"\x03\x01"  # layout message: version, class; then address and size
    content = session.read_bytes()
    assert content.count(contiguous + b"\xff" * 8 + size) == 1
    here = content.replace(
        contiguous + b"\xff" * 8 + size, contiguous + (512).to_bytes(8, "little") + size
    )
    session.write_bytes(here)
    with h5py.File(session) as file:
        assert file["cursor_pos"].id.get_offset() is not None
    assert "cursor_pos: keeps its values in another file" in refusal(session)


@pytest.mark.parametrize("target", ["null", "deleted", "group"])
def test_references_into_nowhere(session, target):
    with h5py.File(session, "r+") as file:
        references = file["spikes"][()]
        if target == "null":
            references[1, 2] = h5py.Reference()
        elif target == "deleted":
            extra = file.create_dataset("extra", data=[1.0])
            references[1, 2] = extra.ref
            del file["extra"]
        else:
            references[1, 2] = file["#refs#"].ref
        file["spikes"][...] = references
    assert "spikes (channel 2, unit 1): " in refusal(session)


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        ("t", (2, 100)),
        ("cursor_pos", (2, 199)),
        ("cursor_pos", (199, 2)),
        ("cursor_pos", (3, 200)),
        ("target_pos", (400,)),
    ],
)
def test_wrong_shapes(session, field, shape):
    replace(session, field, data=np.arange(np.prod(shape), dtype=float).reshape(shape))
    assert f"{field}: has the" in refusal(session)


@pytest.mark.parametrize("field", ["t", "cursor_pos", "target_pos"])
@pytest.mark.parametrize("dtype", ["i8", "f2", "S4", "c16"])
def test_wrong_types(session, field, dtype):
    shape = (1 if field == "t" else 2, 200)
    replace(session, field, data=np.zeros(shape, dtype))
    assert f"{field}: has the type" in refusal(session)


@pytest.mark.parametrize("field", ["t", "cursor_pos", "target_pos"])
def test_vectors_either_way_round(session, field):
    """Where NaN lies is told as it lies in the file."""
    before = getattr(read(session), field)
    values = np.atleast_2d(before).T.copy()
    replace(session, field, data=values)
    np.testing.assert_array_equal(getattr(read(session), field), before)
    values[17, -1] = np.nan
    replace(session, field, data=values)
    place = (17,) if field == "t" else (17, 1)
    assert f"at index {place if len(place) > 1 else place[0]}" in refusal(session)


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (2, 3), (3, 2), (6,), (2, 1, 3)], ids=str)
def test_cells_of_any_shape(session, shape):
    times = 10.1 + np.arange(6) / 100
    with h5py.File(session, "r+") as file:
        del file["#refs#/unit0channel0"], file["#refs#/unit1channel0"]
        references = file["spikes"][()]
        references[:, 0] = file.create_dataset("cell", data=times.reshape(shape)).ref
        file["spikes"][...] = references
    with SessionFile(session) as file:
        for found in file.spike_times(0):
            np.testing.assert_array_equal(found, times)


def test_spikes_that_are_no_cell_array(session):
    replace(session, "spikes", data=np.zeros((2, 3)))
    assert "spikes: is no cell array" in refusal(session)


def test_an_unmarked_integer_cell_is_no_empty_cell(session):
    with h5py.File(session, "r+") as file:
        del file["#refs#/unit1channel0"].attrs["MATLAB_empty"]
    assert "spikes (channel 0, unit 1): has the type uint64" in refusal(session)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["cursor_pos", "target_pos"])
def test_positions_that_are_no_numbers(session, field, value):
    values = np.zeros((2, 200))
    values[1, 17] = value
    replace(session, field, data=values)
    message = refusal(session)
    assert f"{field}: 1 values are NaN or infinite" in message
    assert "(1, 17)" in message


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ([10.1, np.nan], "1 values are NaN or infinite, first nan at index 1"),
        ([10.1, np.inf, np.nan], "2 values are NaN or infinite, first inf at index 1"),
        ([[10.1, 10.1], [np.nan, 10.1]], "first nan at index 2"),
    ],
)
def test_bad_spike_times(tmp_path, times, problem):
    path = small(tmp_path / "a.mat", spikes=(([10.0], [10.0]), ([], times)))
    message = refusal(path)
    assert "spikes (channel 1, unit 1): " in message
    assert problem in message


@pytest.mark.parametrize(
    ("t", "problem"),
    [
        (10 + 0.001 * np.arange(STEPS), "not sampled at 250 Hz (mean 1000 Hz"),
        (10 + 4.0 * np.arange(STEPS), "not sampled at 250 Hz (mean 0.25 Hz"),
        (np.where(np.arange(STEPS) > 30, T + 0.004, T), "31, 10.128 s, which is 0.008 s after"),
        (10 + 0.0041 * np.arange(STEPS), "first at sample 20, 10.082 s, which is 0.0041 s after"),
        (T[::-1], "does not increase at sample"),
        (np.full(STEPS, 10.0), "does not increase at sample"),
        (np.where(np.arange(STEPS) == 3, np.nan, T), "NaN"),
        (T[:1], "has 1 samples"),
    ],
)
def test_bad_clocks(tmp_path, t, problem):
    message = refusal(small(tmp_path / "a.mat", t=t))
    assert "a.mat: t: " in message
    assert problem in message


def test_a_clock_may_jitter_by_less_than_half_a_step(tmp_path):
    jitter = np.random.default_rng(0).uniform(-0.0015, 0.0015, STEPS)
    np.testing.assert_array_equal(read(small(tmp_path / "a.mat", t=T + jitter)).t, T + jitter)


def test_names_must_fit_the_channels(tmp_path):
    path = small(tmp_path / "a.mat", names=["only one"])
    assert "chan_names: has 1 names for 2 channels" in refusal(path)


NOT_TEXT = {
    "text of HDF5": {"data": ["a", "b", "c"], "dtype": h5py.string_dtype()},
    "text of fixed length": {"data": np.array([b"a", b"b", b"c"])},
    "numbers": {"data": np.arange(3.0)[None]},
    "signed numbers": {"data": np.arange(3)[None]},
}


@pytest.mark.parametrize("stored", NOT_TEXT.values(), ids=NOT_TEXT)
@pytest.mark.parametrize("within", [False, True], ids=["the field", "a cell"])
def test_names_in_a_type_that_is_not_text(session, stored, within):
    with h5py.File(session, "r+") as file:
        if within:
            references = file["chan_names"][()]
            references[0, 1] = file.create_dataset("name", **stored).ref
            file["chan_names"][...] = references
        else:
            del file["chan_names"]
            file.create_dataset("chan_names", **stored)
    message = refusal(session)
    assert message.partition(": ")[2].startswith("chan_names")
    assert "cellstr" in message
    assert "leave the field out" in message


def test_names_as_a_string_array_of_matlab(session):
    """Which lies elsewhere in the file, behind numbers that only MATLAB can read."""
    replace(session, "chan_names", data=np.arange(6, dtype=np.uint32)[None])
    assert "chan_names: is no cell array (uint32, shape (1, 6)); store a" in refusal(session)


def test_huge_declared_shapes(session):
    for shape in [(1, 10**6), (1, 10**9), (1, 10**15)]:
        replace(session, "t", shape=shape, dtype="f8", chunks=(1, 1024), compression="gzip")
        assert "t: " in refusal(session)
    replace(session, "t", shape=(1, 10**9), dtype="f8")
    assert "t: declares 8000000000 bytes" in refusal(session)


def test_a_compressed_bomb(session):
    with h5py.File(session, "r+") as file:
        bomb = file.create_dataset(
            "bomb", (1, 20_000_000), "f8", chunks=(1, 20_000_000), compression="gzip"
        )
        bomb[...] = 0
        references = file["spikes"][()]
        references[0, 0] = bomb.ref
        file["spikes"][...] = references
    assert "spikes (channel 0, unit 0): declares 160000000 bytes" in refusal(session)


def test_one_array_may_not_be_counted_many_times(tmp_path):
    """Cells that share a legal array multiply it."""
    path = small(tmp_path / "a.mat", spikes=[[[10.1]] * 10] * 10)
    with h5py.File(path, "r+") as file:
        shared = file.create_dataset("shared", data=np.full((1, 100_000), 10.1), compression=9)
        file["spikes"][...] = np.full((10, 10), shared.ref, h5py.ref_dtype)
    assert "in all" in refusal(path)


def test_a_chunk_that_inflates_beyond_its_declared_size(session):
    raw = zlib.compress(bytes(200_000_000), 9)
    with h5py.File(session, "r+") as file:
        del file["t"]
        t = file.create_dataset("t", (1, 200), "f8", chunks=(1, 200), compression="gzip")
        t.id.write_direct_chunk((0, 0), raw)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "t: has a damaged chunk" in refusal(session)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_chunks_that_were_never_written(session):
    with h5py.File(session, "r+") as file:
        del file["t"]
        t = file.create_dataset("t", (1, 200), "f8", chunks=(1, 50), compression="gzip")
        t[0, :100] = 1
    assert "t: lacks some of its 4 chunks" in refusal(session)


@pytest.mark.parametrize("field", ["spikes", "t"])
def test_filters_of_plug_ins_are_named_and_not_run(session, field):
    with h5py.File(session, "r+") as file:
        values = file[field][()]
        del file[field]
        file.create_dataset(field, data=values, compression="lzf", dtype=values.dtype)
    assert f"{field}: is compressed with lzf, which is not read; store it with gzip" in refusal(
        session
    )


def test_an_unreadable_field_leaves_no_open_file(session):
    replace(session, "spikes", data=np.zeros((2, 3)))
    before = len(os.listdir("/proc/self/fd"))
    refusal(session)
    assert len(os.listdir("/proc/self/fd")) == before


def test_cells_are_counted(session):
    with SessionFile(session) as file:
        assert file.channels == 3
