"""Where session files come from: Zenodo, a local folder, or the synthetic generator."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from spikereach.config import Config
from spikereach.config.sessions import ZENODO, Session
from spikereach.data import synthetic, zenodo
from spikereach.data.errors import SessionError
from spikereach.identity import file_checksum


def fetch(session: Session, target: Path, config: Config) -> None:
    """Put the file of a session at ``target``, whole or not at all.

    Args:
        session: as found in the catalogue (`sessions.find`).
        target: where the file shall lie; its folder is made if need be.
        config: ``source`` says where from, ``download``, ``folder`` and ``synthetic`` how.
    Raises:
        SessionError: the source does not have the session, or getting it failed; the message
            names the file and the remedy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if config.source == "local":
        _copy(session, Path(config.folder), target)
    elif config.source == "synthetic":
        synthetic.generate(
            session, target, duration_s=config.synthetic.duration_s, seed=config.synthetic.seed
        )
    elif session.name not in ZENODO:
        raise SessionError(
            f"{session.name} is not on Zenodo: take it out of `sessions` and "
            "`pretrain_sessions`, or set `source` to where it lies"
        )
    else:
        zenodo.fetch(session, target, config.download, progress=config.progress)


def _copy(session: Session, folder: Path, target: Path) -> None:
    """Copy ``folder``/NAME.mat. The copy shares nothing with the original, which may change."""
    original = folder / f"{session.name}.mat"
    if not original.is_file():
        raise SessionError(f"{original}: no such file; {_contents(folder)}")
    if session.md5 is not None:
        found = file_checksum(original, "md5")
        if found != session.md5:
            raise SessionError(
                f"{original}: is not the published file of that name (MD5 {found}, expected "
                f"{session.md5}); replace it, or rename it and describe it under `catalogue`"
            )
    part = target.with_name(target.name + ".part")
    try:
        with open(original, "rb") as source, open(part, "wb") as copy:
            shutil.copyfileobj(source, copy, 2**20)
            copy.flush()
            os.fsync(copy.fileno())
            expected = os.fstat(source.fileno()).st_size
            complete = copy.tell() == expected
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SessionError(
            f"{original}: cannot be copied to {target} ({error.strerror}); "
            "make room, or mend the permissions, and run again"
        ) from error
    if not complete:
        part.unlink()
        raise SessionError(f"{original}: changed while it was copied; run again when it is whole")
    os.replace(part, target)


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder} either: set `folder` to where the files are"
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".mat")
    listed = ", ".join(names) if names else "no .mat files"
    return f"{folder} has {listed}: rename a file, or set `folder` and `sessions` to match"
