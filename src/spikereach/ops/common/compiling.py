"""Compiling loops, once for all processes: numba's files of compiled code, checked."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

from spikereach.identity import content_checksum

log = logging.getLogger(__name__)

_FILES = [path.stat() for path in sorted(Path(__file__).parents[1].rglob("*.py"))]
SOURCES = tuple((file.st_mtime, file.st_size) for file in _FILES)


def compiled(function: Callable) -> Callable:
    """Compile a loop, once until any file of the operations changes.

    Numba alone would look at the function's own file only, and go on with what another folder
    has inlined or called before.
    """
    loop = njit(nogil=True, error_model="numpy")(function)  # no checks of divisors
    if isinstance(loop, Dispatcher):  # else numba is told not to compile
        with contextlib.suppress(RuntimeError):  # no folder can be written: each process compiles
            loop._cache = _Cache(function)
    return loop


# Of functions that work on views within a step: to call them would count references to each view,
# atomically, which takes longer than their work.
inlined = njit(inline="always", error_model="numpy")


class _Cache(FunctionCache):
    """Compiled code of a function that is made anew where it cannot be read."""

    def __init__(self, function: Callable):
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, (stamp, SOURCES))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # whatever pickle and LLVM make of wrong bytes
            log.warning("%s: compiled anew (%s)", self._cache_file._index_path, error)
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            log.warning(
                "%s: no compiled code can be kept here (%s), each process compiles it anew; "
                "free disk space, or name another folder in NUMBA_CACHE_DIR",
                self._cache_path, error.strerror,
            )  # fmt: skip


class _Files(IndexDataCacheFile):
    """Numba's two kinds of files, with a SHA-256 of all before it at the end of each.

    A file that a full disk or a power failure left may be of the right length: as code it would
    end the process, each time.
    """

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BinaryIO]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content.getvalue() + _sum(content.getvalue()))

    def _load_index(self) -> dict:
        return super()._load_index() if _whole(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        return super()._load_data(name) if _whole(self._data_path(name)) else None


def _whole(path: str) -> bool:
    """Whether a file ends with its checksum, after which pickle does not look."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return False
    size = len(_sum(b""))
    return _sum(content[:-size]) == content[-size:]


def _sum(content: bytes) -> bytes:
    return bytes.fromhex(content_checksum(content))
