"""Whether the lock that Snakemake finds in its run folder is of a process that still lives.

Snakemake's own lock is files that name outputs. A process that is killed leaves them behind, and
the next is refused until somebody calls ``snakemake --unlock``. Here each process also holds a
lock of the operating system, which ends with the process: who gets it exclusively is alone, and
files of a lock that were left on the same machine are of nobody. All who live share it: filelock
has no lock on a file that can be had alone first and shared then, hence the system's own call.
"""

import contextlib
import fcntl
import logging
import platform
from pathlib import Path
from typing import TextIO

FOLDER = Path(".snakemake")
LOCKS = FOLDER / "locks"
"""Snakemake's lock files."""

log = logging.getLogger(__name__)


class RunFolderError(RuntimeError):
    """The run folder cannot be used: names it and the remedy."""


def claim() -> TextIO:
    """Hold the working directory as long as the file that this gives stays open.

    A lock that a killed process left here is dropped. Another machine may share the folder
    without sharing locks of the operating system. A lock that was left elsewhere is therefore
    kept: Snakemake will name ``--unlock``. So it is where the file system knows no locks.

    Raises:
        RunFolderError: nothing can be written there.
    """
    try:
        FOLDER.mkdir(exist_ok=True)
        # "a": nothing is lost by opening it
        holder = (FOLDER / "holder").open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(
            f"the run folder {Path.cwd()} cannot be written ({error.strerror}): make it "
            "writable, or choose another with --directory"
        ) from None
    with contextlib.suppress(OSError):  # a file system without locks
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.seek(0)
            if holder.read() == platform.node():
                for path in LOCKS.glob("*.lock"):
                    log.warning("%s was left by a run that was killed; removed", path)
                    path.unlink(missing_ok=True)
        fcntl.flock(holder, fcntl.LOCK_SH)
    return holder


def sign(holder: TextIO) -> None:
    """Write down on which machine the present lock of Snakemake is held."""
    holder.truncate(0)
    holder.write(platform.node())
    holder.flush()
