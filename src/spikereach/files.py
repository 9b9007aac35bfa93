"""Files that appear whole or not at all, and what keeps the system from reading or writing them."""

import contextlib
import errno
import os
from pathlib import Path

_WAIT = "another program holds it: run again when that is done"
_SHARE = "run again when the network share is back"
_LOCKS = "its file system has no locks: set HDF5_USE_FILE_LOCKING=FALSE and run again"
_ROOM = "free disk space and run again"
_PERMIT = "mend the permissions and run again"
_MEMORY = "free some memory and run again"
_OPEN = "close other programs or raise the limit of open files (ulimit -n), and run again"
REMEDIES = {
    errno.EMFILE: _OPEN,
    errno.ENFILE: _OPEN,
    errno.EIO: "disk or network failed: run again; where it stays so, put the file elsewhere",
    errno.ESTALE: _SHARE,
    errno.ETIMEDOUT: _SHARE,
    errno.EHOSTDOWN: _SHARE,
    errno.EHOSTUNREACH: _SHARE,
    errno.ENOTCONN: _SHARE,
    errno.EAGAIN: _WAIT,
    errno.EBUSY: _WAIT,
    errno.ETXTBSY: _WAIT,
    errno.ENOLCK: _LOCKS,
    errno.ENOSYS: _LOCKS,
    errno.EOPNOTSUPP: _LOCKS,
    errno.ENOMEM: _MEMORY,
    errno.EACCES: _PERMIT,
    errno.EPERM: _PERMIT,
    errno.EROFS: "it lies on a disk that is read-only: choose another place",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
}
"""Errors of the system that say nothing about what a file holds, and what to do."""


def remedy(error: OSError) -> str:
    """What to do about an error of the file system."""
    return REMEDIES.get(error.errno, "look at this path and what lies there, then run again")


class ReadError(OSError):
    """A file cannot be read, whatever it holds: names it and the remedy."""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be read ({self.strerror}); {remedy(self)}"


def read_error(path: str | Path, error: BaseException) -> ReadError | None:
    """The error to raise where a file was not read because of the system; None where it may be the
    file's fault, which may then be damaged."""
    number = errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None)
    return ReadError(number, os.strerror(number), str(path)) if number in REMEDIES else None


class WriteError(OSError):
    """A file cannot be written: names it and the remedy."""

    def __str__(self) -> str:
        return (
            f"{self.filename}: cannot be written ({self.strerror}); {remedy(self)}; "
            "what was saved before is unchanged"
        )


def replace(path: str | Path, content: bytes | memoryview) -> None:
    """Put a file in place, in a folder that is made where absent; an earlier one stays as it was
    where that fails.

    It is written under another name in the same folder, which the next attempt takes again:
    a process that is killed leaves at most one such file, and only until then.

    Raises:
        WriteError: the disk is full, the folder read-only, ...
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise WriteError(error.errno, error.strerror, str(path)) from error
