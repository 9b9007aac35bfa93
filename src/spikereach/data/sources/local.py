"""Recordings of one's own: copied from a folder."""

import filecmp
import os
import shutil
from pathlib import Path
from typing import Any

from spikereach.config.sessions import Session
from spikereach.data.errors import SessionError
from spikereach.data.sources import Source, wrong
from spikereach.files import remedy
from spikereach.identity import file_checksum


class Local(Source):
    caption = "Data: local recordings"
    apart = "Published figures are for other recordings and cannot be compared with ours."

    def fetch(self, session: Session, target: Path) -> None:
        """Copy ``folder``/NAME.mat. The copy shares nothing with the original, which may change."""
        original = self._original(session)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            with open(original, "rb") as source, open(part, "wb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
                copy.flush()
                os.fsync(copy.fileno())
                complete = copy.tell() == os.fstat(source.fileno()).st_size
        except OSError as error:
            part.unlink(missing_ok=True)
            raise SessionError(
                f"{original}: cannot be copied to {target} ({error.strerror}); {remedy(error)}"
            ) from error
        if not complete:
            part.unlink()
            raise SessionError(
                f"{original}: changed while it was copied; run again when it is whole"
            )
        os.replace(part, target)

    def check(self, session: Session, path: Path) -> None:
        """Compare with the original, which the file may be a link to."""
        original = self._original(session)
        if not filecmp.cmp(original, path, shallow=False):
            raise wrong(path, f"is not the same as {original}")

    def _original(self, session: Session) -> Path:
        """The file of the folder; a `SessionError` if it should be a published one and is not."""
        original = self.local_file(session)
        if session.md5 and (found := file_checksum(original, "md5")) != session.md5:
            raise SessionError(
                f"{original}: is not the published file of that name (MD5 {found}, expected "
                f"{session.md5}); replace it, or rename it and describe it under `catalogue`"
            )
        return original

    def key(self, session: Session) -> dict[str, Any]:
        """With the stamp of the original: put back to an older file it has an older date, at which
        Snakemake alone would not look."""
        status = self.local_file(session).stat()
        return super().key(session) | {"stamp": [status.st_size, status.st_mtime_ns]}

    def steps(self, session: Session) -> int:
        """Of the file itself; a `SessionError` if it cannot be read."""
        from spikereach.data.matfile import SessionFile  # with h5py, not to plan with

        with SessionFile(self.local_file(session)) as file:
            return file.t.size

    def local_file(self, session: Session) -> Path:
        path = Path(self.config.folder, f"{session.name}.mat")
        if not path.is_file():
            raise SessionError(f"{path}: no such file; {_contents(path.parent)}")
        return path


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder} either: put the session there or change `folder`"
    listed = ", ".join(sorted(path.name for path in folder.glob("*.mat"))) or "no .mat files"
    return f"{folder} has {listed}: put it there, or change `folder` or `sessions` to match"
