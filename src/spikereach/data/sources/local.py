"""Recordings of one's own: copied from a folder, or read there from NWB."""

import filecmp
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spikereach.config import Nwb
from spikereach.config.sessions import Session
from spikereach.data.errors import SessionError
from spikereach.data.sources import Source, wrong
from spikereach.files import remedy
from spikereach.identity import file_checksum


class Local(Source):
    caption = "Data: local recordings"
    apart = "Published figures are for other recordings and cannot be compared with ours."

    def fetch(self, session: Session, target: Path) -> None:
        """Copy ``folder``/NAME.mat, or make a session file of NAME.nwb. It shares nothing with the
        original, which may change."""
        original = self._original(session)
        if _is_nwb(original):
            self._from_nwb(session, original, target)
            return
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
        """Compare with the original, which the file may be a link to; with what is read from it
        where that is NWB."""
        original = self._original(session)
        if _is_nwb(original):
            with TemporaryDirectory() as folder:
                self._from_nwb(session, original, made := Path(folder, path.name))
                if not filecmp.cmp(made, path, shallow=False):
                    raise wrong(path, f"is not what is read from {original}")
            return
        if not filecmp.cmp(original, path, shallow=False):
            raise wrong(path, f"is not the same as {original}")

    def _original(self, session: Session) -> Path:
        """The file of the folder; a `SessionError` if it should be a published one and is not."""
        original = self.local_file(session)
        published = session.md5 and not _is_nwb(original)
        if published and (found := file_checksum(original, "md5")) != session.md5:
            raise SessionError(
                f"{original}: is not the published file of that name (MD5 {found}, expected "
                f"{session.md5}); replace it, or rename it and describe it under `catalogue`"
            )
        return original

    def key(self, session: Session) -> dict[str, Any]:
        """With the stamp of the original: put back to an older file it has an older date, at which
        Snakemake alone would not look."""
        original = self.local_file(session)
        status = original.stat()
        read = {"nwb": self._options(session).model_dump()} if _is_nwb(original) else {}
        return super().key(session) | {"stamp": [status.st_size, status.st_mtime_ns]} | read

    def steps(self, session: Session) -> int:
        """Of the file itself; a `SessionError` if it cannot be read."""
        original = self.local_file(session)
        if _is_nwb(original):
            from spikereach.data.nwb.reading import steps

            return steps(original, self._options(session))
        from spikereach.data.matfile import SessionFile  # with h5py, not to plan with

        with SessionFile(original) as file:
            return file.t.size

    def memory_mb(self) -> int:
        """Reading NWB takes pynwb, and all of a session at 250 Hz."""
        return 2000

    def local_file(self, session: Session) -> Path:
        entry = self.config.catalogue.get(session.name)
        if entry is not None and entry.file is not None:
            path = Path(self.config.folder, entry.file)
            if not path.is_file():
                raise SessionError(
                    f"{path}: no such file; put it there, or change `folder` or "
                    f"catalogue.{session.name}.file"
                )
            return path
        path, nwb = (Path(self.config.folder, session.name + end) for end in (".mat", ".nwb"))
        if path.is_file() and nwb.is_file():
            raise SessionError(f"{nwb}: lies beside {path.name}: take one of them away")
        if not path.is_file() and not nwb.is_file():
            raise SessionError(f"{path}: no such file; {_contents(path.parent)}")
        return path if path.is_file() else nwb

    def _options(self, session: Session) -> Nwb:
        entry = self.config.catalogue.get(session.name)
        return Nwb() if entry is None else entry.nwb

    def _from_nwb(self, session: Session, original: Path, target: Path) -> None:
        from spikereach.data.nwb.reading import to_session_file

        to_session_file(original, session.areas, self._options(session), target)


def _is_nwb(path: Path) -> bool:
    return path.suffix.lower() == ".nwb"


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder} either: put the session there or change `folder`"
    found = sorted(path.name for end in ("mat", "nwb") for path in folder.glob(f"*.{end}"))
    listed = ", ".join(found) or "no .mat and no .nwb files"
    return f"{folder} has {listed}: put it there, or change `folder` or `sessions` to match"
