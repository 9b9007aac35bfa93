"""Files that appear whole or not at all."""

import contextlib
import os
from pathlib import Path


class WriteError(OSError):
    """A file cannot be written: names it and the remedy."""

    def __str__(self) -> str:
        return (
            f"{self.filename}: cannot be written ({self.strerror}); free disk space or make the "
            "folder writable and run again; what was saved before is unchanged"
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
