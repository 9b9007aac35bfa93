"""A folder with an exported decoder: what it says of itself, and how it is put in place.

`manifest.json` in it names the checkpoint, all that the decoder was made with, and the SHA-256 of
every other file, by which `spikereach verify` follows it.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikereach.files import WriteError
from spikereach.identity import content_checksum, digest, file_checksum
from spikereach.kinds import OverwriteError
from spikereach.provenance import repository_state, short_commit

if TYPE_CHECKING:
    from spikereach.models.checkpoint import Checkpoint

MANIFEST, KIND = "manifest.json", "exported decoder"
BUILT = "build"
"""Folder in which the Makefile of the C export works."""


def about(checkpoint: "Checkpoint", path: Path) -> dict[str, Any]:
    """Where a decoder comes from, JSON-like.

    Args:
        checkpoint: what is exported.
        path: its file.
    """
    commit, dirty = repository_state()
    return {
        "system": checkpoint.system_name,
        "session": checkpoint.dataset,
        "monkey": checkpoint.monkey,
        "seed": checkpoint.seed,
        "checkpoint_sha256": file_checksum(path),
        "config_sha256": digest(checkpoint.system),
        "commit": commit,
        "dirty": dirty,
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """What :func:`about` says, for the comment at the top of a source."""
    return [
        f"{told['system']} for {told['session']} of monkey {told['monkey']}, seed {told['seed']}",
        f"made by spikereach, commit {short_commit(told['commit'], told['dirty'])}",
        f"checkpoint SHA-256 {told['checkpoint_sha256']}",
        f"config SHA-256     {told['config_sha256']}",
    ]


def manifest(files: Mapping[str, bytes], told: Mapping[str, Any]) -> bytes:
    """Content of :data:`MANIFEST` for a folder of these files."""
    sums = {name: content_checksum(content) for name, content in files.items()}
    whole = {"kind": KIND, **told, "files": sums}
    return (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()


def read(folder: Path) -> dict[str, Any] | None:
    """What the manifest of an exported decoder holds; None where a folder has none, or a damaged
    one."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        return None
    texts = all(isinstance(found.get(key), str) for key in ("checkpoint", "checkpoint_sha256"))
    return found if texts and isinstance(found.get("files"), dict) else None


def check_overwriting(out: Path) -> None:
    """Refuse to write where something else lies than an exported decoder.

    Raises:
        OverwriteError: names it.
    """
    if out.is_dir() and not out.is_symlink():
        found = sorted(each.name for each in out.iterdir())
        own = read(out)
        known = set() if own is None else {*own["files"], MANIFEST, BUILT}
        foreign = [name for name in found if name not in known]
        if foreign:
            raise OverwriteError(
                f"{out}: holds {foreign[0]}, which is no part of an exported decoder, and only "
                "such folders are written over here: give another name"
            )
    elif out.exists() or out.is_symlink():
        raise OverwriteError(f"{out}: is no folder: give another name")


def write(out: Path, files: Mapping[str, bytes], told: Mapping[str, Any]) -> None:
    """Put a folder in place, whole or not at all.

    Args:
        out: where; an exported decoder that lies there is replaced.
        files: by name.
        told: as :func:`about`, and more.
    Raises:
        OverwriteError: something else lies there.
        WriteError: the disk is full, the folder read-only, ...
    """
    check_overwriting(out)
    out = Path(os.path.abspath(out))
    made, earlier = (out.with_name(f".{out.name}.{end}") for end in ("tmp", "old"))
    for leftover in (made, earlier):  # of a process that was killed
        check_overwriting(leftover)
    try:
        for leftover in (made, earlier):
            if leftover.exists():
                shutil.rmtree(leftover)
        made.mkdir(parents=True)
        # First what says that the folder may be deleted.
        for name, content in {MANIFEST: manifest(files, told), **files}.items():
            (made / name).write_bytes(content)
        if out.exists():
            os.replace(out, earlier)
        os.replace(made, out)
        shutil.rmtree(earlier, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(made, ignore_errors=True)
        if earlier.exists() and not out.exists():
            os.replace(earlier, out)
        if isinstance(error, OSError):
            raise WriteError(error.errno, error.strerror, str(out)) from error
        raise
