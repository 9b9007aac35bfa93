"""Writing session files: MATLAB v7.3 (HDF5) in the layout that `data.matfile` reads."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from spikereach import files

_CLASSES = {"float64": "double", "float32": "single", "uint16": "char"}
"""MATLAB's names of types."""


def write_session(
    path: Path,
    fields: Mapping[str, np.ndarray],
    cells: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    *,
    title: str,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Write a session file, whole or not at all; the same byte by byte for the same content.

    Args:
        path: the file.
        fields: ``t`` (1, T) in seconds, ``cursor_pos`` and ``target_pos`` (2, T), and others, of
            float64 or float32, or uint16 for texts.
        cells: per channel, per unit the sorted spike times (n,) in seconds; as many units in all
            channels.
        names: of the channels.
        title: what MATLAB shows of the file, ASCII, at most 80 characters.
        attributes: of the file as HDF5.
    Raises:
        WriteError: the file cannot be written; an earlier one is left as it was.
    """
    image = io.BytesIO()  # HDF5 in memory: a full disk then gives one plain error
    with h5py.File(image, "w", userblock_size=512) as file:
        file.attrs.update(attributes or {})
        for name, values in fields.items():
            kind = _CLASSES[values.dtype.name]
            # Open until the next one is there: the layout of the file depends on it.
            _last = _dataset(file, name, values, kind, compression=3)
        heap = file.create_group("#refs#")
        spikes = np.empty((len(cells[0]), len(cells)), dtype=h5py.ref_dtype)
        references = np.empty((1, len(cells)), dtype=h5py.ref_dtype)
        for channel, units in enumerate(cells):
            for row, times in enumerate(units):
                # (1, n) doubles, or MATLAB's mark of an empty 0 x 0 array.
                values, marks = times[None], {}
                if not times.size:
                    values, marks = np.zeros(2, np.uint64), {"MATLAB_empty": np.uint8(1)}
                name = f"s{row}_{channel}"
                spikes[row, channel] = _dataset(heap, name, values, "double", **marks).ref
            text = np.frombuffer(names[channel].encode("utf-16-le"), dtype=np.uint16)
            decoded = np.int32(2)
            cell = _dataset(heap, f"n{channel}", text[:, None], "char", MATLAB_int_decode=decoded)
            references[0, channel] = cell.ref
        for name, cells_of in {"spikes": spikes, "chan_names": references}.items():
            _last = _dataset(file, name, cells_of, "cell")
    # MATLAB's own header: 124 characters of text, then version and byte order.
    text = f"MATLAB 7.3 MAT-file, {title}, HDF5 schema 1.00 .".encode("ascii")
    image.seek(0)
    image.write(text.ljust(124) + b"\x00\x02IM")
    files.replace(path, image.getbuffer())


def _dataset(
    group: h5py.Group, name: str, values: np.ndarray, kind: str, compression=None, **attributes
) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=values, compression=compression)
    dataset.attrs.update(MATLAB_class=np.bytes_(kind), **attributes)
    return dataset
