"""Reading HDF5 files that may be damaged or hostile.

Nothing outside the file is followed (external and soft links, external storage, virtual
datasets), no filter plug-in is loaded, and nothing is read before its declared size has been
compared with the size of the file. Chunks are read and inflated here: the HDF5 library would
let a compressed chunk grow far beyond its declared size, and h5py's ``read_direct_chunk``
writes past its buffer on some damaged chunk indices.
"""

import itertools
import math
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5r, h5s

from spikereach.data.errors import SessionError
from spikereach.files import read_error
from spikereach.kinds import Kind, again, mistaken

#: Largest number of bytes that the fields of one file may occupy in memory.
MEMORY_LIMIT = 4 * 2**30
#: Fields may be this many times larger than the file (recordings: 1 to 5; deflate: up to 1032) ...
EXPANSION_LIMIT = 100
#: ... and small files may always grow to this many bytes.
SMALL = 64 * 2**20
#: Most cells of a MATLAB cell array: in memory a reference takes ten times its place in the file.
CELLS = 100_000
CELL_ARRAY = "store a MATLAB cell array (HDF5: a matrix of object references)"

_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_FLETCHER32 = h5py.h5z.FILTER_FLETCHER32
_FILTERS = (_SHUFFLE, _DEFLATE, _FLETCHER32)
_CHECKSUM = 4
"""Bytes that Fletcher32 adds to a chunk."""
_PIECE = 2**17
"""Bytes of which its sums are formed at a time: they then stay within 64 bits."""


@dataclass(frozen=True)
class Stored:
    """A dataset of a file, looked up once: h5py's own object asks the library every time."""

    id: h5d.DatasetID
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def marked(self, name: str) -> bool:
        """Whether an attribute is there and a true number."""
        if not h5a.exists(self.id, name.encode()):
            return False
        mark = h5a.open(self.id, name.encode())
        if mark.shape not in ((), (1,)) or mark.dtype.kind not in "ui":
            return False
        value = np.empty(mark.shape, mark.dtype)
        mark.read(value)
        return bool(value)


class GuardedFile(AbstractContextManager):
    """An HDF5 file opened for reading, every problem of which is a `SessionError`.

    Raises:
        SessionError: the file is missing, truncated, damaged or of another kind than asked for.
        ReadError: the system does not let it be read.
    """

    def __init__(self, path: str | Path, kind: Kind):
        self.path, self.kind = Path(path), kind
        self._declared: dict[str, int] = {}
        self._total = 0
        with self.guard("whole file"):
            if problem := mistaken(self.path, kind):
                raise SessionError(f"{self.path}: {problem}")
            self.size = self.path.stat().st_size
            self._file = h5py.File(self.path, "r")
            self._raw = open(self.path, "rb")  # noqa: SIM115
        self._limit = min(MEMORY_LIMIT, max(SMALL, EXPANSION_LIMIT * self.size))

    def __exit__(self, *_) -> None:
        with self.guard("whole file"):
            self._raw.close()
            self._file.close()

    def error(self, field: str, problem: str, remedy: str | None = None) -> SessionError:
        """The exception for a problem with a field; without a remedy of its own, that for damaged
        files of the kind."""
        remedy = remedy or again(self.path, self.kind)
        return SessionError(f"{self.path}: {field}: {problem}; {remedy}")

    @contextmanager
    def guard(self, field: str) -> Iterator[None]:
        """Turn whatever h5py raises on a damaged file into one `SessionError`."""
        try:
            yield
        except SessionError:
            raise
        except Exception as error:
            if problem := read_error(self.path, error):
                raise problem from error
            reason = " ".join(str(error).split()) or type(error).__name__
            raise self.error(field, f"cannot be read ({reason})") from error

    def __contains__(self, name: str) -> bool:
        with self.guard(name):
            return name in self._file

    def attribute(self, name: str) -> str:
        """A text attribute of the file; a `SessionError` if it is missing or not text."""
        with self.guard(name):
            if name not in self._file.attrs:
                raise self.error(name, "missing")
            value = self._file.attrs[name]
            if not isinstance(value, str):
                raise self.error(name, f"is not text but {type(value).__name__}")
            return value

    def field(self, name: str) -> Stored:
        """A dataset at the top of the file; a `SessionError` if it is missing, a link elsewhere
        or not a dataset."""
        with self.guard(name):
            link = self._file.get(name, getlink=True)
            if link is None:
                raise self.error(name, "missing")
            if not isinstance(link, h5py.HardLink):
                raise self.error(name, "is a link to somewhere else", "store the values themselves")
            return self._checked(name, self._file[name].id)

    def follow(self, field: str, reference: h5py.Reference) -> Stored:
        """The dataset an object reference points to; a `SessionError` if there is none."""
        with self.guard(field):
            if not reference:
                raise self.error(field, "is a reference into nowhere")
            return self._checked(field, h5r.dereference(reference, self._file.id))

    def references(self, name: str, remedy: str = CELL_ARRAY) -> np.ndarray:
        """A MATLAB cell array: object references of shape (columns, rows); a `SessionError`, with
        that remedy, if it is not a two-dimensional array of references."""
        dataset = self.field(name)
        with self.guard(name):
            if h5py.check_ref_dtype(dataset.dtype) is not h5py.Reference or len(dataset.shape) != 2:
                raise self.error(
                    name,
                    f"is no cell array ({dataset.dtype}, shape {dataset.shape})",
                    remedy,
                )
            if dataset.size > CELLS:
                raise self.error(name, f"has {dataset.size} cells, at most {CELLS} are read")
            self._declare(name, dataset)
            if dataset.chunks is not None:
                # Only the library makes references of bytes: it may, where all chunks are sound.
                stored = np.dtype((np.void, dataset.id.get_type().get_size()))
                self._chunks(name, replace(dataset, dtype=stored))
            return _read(dataset)

    def values(
        self, field: str, dataset: Stored, kind: str = "f", remedy: str | None = None
    ) -> np.ndarray:
        """All values of a numeric dataset, in its own shape and type (native byte order).

        ``kind`` is the expected one, as in ``numpy.dtype.kind``; a `SessionError` that names the
        ``field`` if the type is another, with that remedy, or the dataset too large, incomplete or
        damaged.
        """
        with self.guard(field):
            dtype = dataset.dtype
            if dtype.kind != kind or dtype.itemsize > 8 or (kind == "f" and dtype.itemsize < 4):
                expected = {"f": "float32 or float64", "u": "unsigned integers", "i": "integers"}
                raise self.error(field, f"has the type {dtype}, expected {expected[kind]}", remedy)
            self._declare(field, dataset)
            if dataset.size == 0:
                return np.empty(dataset.shape, dtype.newbyteorder("="))
            values = self._chunks(field, dataset) if dataset.chunks else _read(dataset)
            return np.asarray(values, dtype.newbyteorder("="))

    def _checked(self, field: str, found: object) -> Stored:
        """Refuse all but plain datasets whose values lie in this very file."""
        if not isinstance(found, h5d.DatasetID):
            kind = type(found).__name__.removesuffix("ID")
            raise self.error(field, f"is not an array but {kind}")
        space = found.get_space()
        if space.get_simple_extent_type() == h5s.NULL:
            raise self.error(field, "has no shape")
        creation = found.get_create_plist()
        layout = creation.get_layout()
        if layout == h5d.VIRTUAL or creation.get_external_count():
            raise self.error(field, "keeps its values in another file", "store the values here")
        chunks = creation.get_chunk() if layout == h5d.CHUNKED else None
        return Stored(found, space.get_simple_extent_dims(), found.dtype, chunks)

    def _declare(self, field: str, dataset: Stored) -> None:
        """Compare declared sizes with what a file of this size can hold."""
        size = dataset.size * dataset.dtype.itemsize
        before = self._declared.get(field, 0)
        self._declared[field] = max(size, math.prod(dataset.chunks or (0,)))
        self._total += self._declared[field] - before
        if self._total > self._limit:
            raise self.error(
                field,
                f"declares {size} bytes (shape {dataset.shape}); this file of {self.size} bytes "
                f"may declare {self._limit} in all",
            )
        if dataset.chunks is None and dataset.id.get_storage_size() < size:
            raise self.error(field, "was never written in full")

    def _chunks(self, field: str, dataset: Stored) -> np.ndarray:
        """Read a chunked dataset chunk by chunk; each must be there and of the declared size."""
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(number) for number in range(plist.get_nfilters())]
        pipeline = [code for code, *_ in filters]
        if unknown := [name for code, *_, name in filters if code not in _FILTERS]:
            how = f"with {unknown[0].decode(errors='replace') or 'an unnamed filter'}"
        else:
            how = "twice" if len(set(pipeline)) < len(pipeline) else None
        if how:
            raise self.error(
                field, f"is compressed {how}, which is not read", "store it with gzip or none"
            )
        shape, chunk = dataset.shape, dataset.chunks
        axes = [range(0, n, c) for n, c in zip(shape, chunk, strict=True)]
        count = math.prod(map(len, axes))
        if count > self.size // 8:  # each takes up index and data
            raise self.error(field, f"declares {count} chunks in a file of {self.size} bytes")
        stored: list[h5py.h5d.StoreInfo] = []

        def collect(info):
            stored.append(info)
            return True if len(stored) > count else None  # True ends the iteration

        dataset.id.chunk_iter(collect)
        found = {info.chunk_offset for info in stored}
        if len(stored) != count or len(found) != count or found != set(itertools.product(*axes)):
            raise self.error(field, f"lacks some of its {count} chunks")
        values = np.empty(shape, dataset.dtype)
        for info in stored:
            if info.byte_offset + info.size > self.size:
                raise self.error(field, f"has a chunk of {info.size} bytes beyond the file's end")
            self._raw.seek(info.byte_offset)
            raw = self._raw.read(info.size)
            block = _decode(raw, pipeline, info.filter_mask, dataset.dtype, chunk)
            if block is None:
                raise self.error(field, f"has a damaged chunk at {info.chunk_offset}")
            at = tuple(slice(o, o + c) for o, c in zip(info.chunk_offset, chunk, strict=True))
            part = values[at]
            part[...] = block[tuple(map(slice, part.shape))]
        return values


def _read(dataset: Stored) -> np.ndarray:
    """All values of a dataset that is not chunked."""
    values = np.empty(dataset.shape, dataset.dtype)
    dataset.id.read(h5s.ALL, h5s.ALL, values)
    return values


def _decode(raw: bytes, pipeline, mask: int, dtype: np.dtype, shape) -> np.ndarray | None:
    """Undo a chunk's filters, the last first; None where it does not hold exactly one chunk of
    values. A bit of the mask tells that a filter was left out."""
    size = math.prod(shape) * dtype.itemsize
    applied = [code for number, code in enumerate(pipeline) if not mask >> number & 1]
    while applied and raw is not None:
        code = applied.pop()
        if code == _DEFLATE:
            raw = _inflated(raw, size + _CHECKSUM * applied.count(_FLETCHER32))
        elif code == _FLETCHER32:
            raw = _verified(raw)
        else:
            raw = _unshuffled(raw, dtype.itemsize)
    return None if raw is None or len(raw) != size else np.frombuffer(raw, dtype).reshape(shape)


def _inflated(raw: bytes, size: int) -> bytes | None:
    """What a deflate stream of that many bytes holds; None where it is longer or has no end."""
    inflater = zlib.decompressobj()
    raw = inflater.decompress(raw, size + 1)
    # Where the output fills exactly, zlib may stop short of the stream's checksum.
    if len(raw) == size and not inflater.eof:
        raw += inflater.decompress(inflater.unconsumed_tail, 1)
    return raw if inflater.eof else None


def _unshuffled(raw: bytes, width: int) -> bytes:
    """Bytes by value, that were stored by place; what fills no value stands behind, as it was."""
    whole = len(raw) // width * width
    return np.frombuffer(raw[:whole], np.uint8).reshape(width, -1).T.tobytes() + raw[whole:]


def _verified(raw: bytes) -> bytes | None:
    """What stands before its own checksum; None where that is wrong."""
    content, checksum = raw[:-_CHECKSUM], raw[-_CHECKSUM:]
    return content if fletcher32(content).to_bytes(_CHECKSUM, "little") == checksum else None


def fletcher32(content: bytes) -> int:
    """Fletcher's checksum of big-endian words of 16 bits, as HDF5 computes it: an odd byte at the
    end is the upper half of a word, and a sum that is a multiple of 65535 is 65535, not 0."""
    first = second = 0
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        words = np.frombuffer(piece + bytes(len(piece) % 2), ">u2").astype(np.uint64)
        second += len(words) * first + int(words @ np.arange(len(words), 0, -1, np.uint64))
        first += int(words.sum())
    first, second = (total and (total % 0xFFFF or 0xFFFF) for total in (first, second))
    return second << 16 | first
