"""Manifests: what every job of the workflow read, wrote and ran with.

A job leaves one JSON file per folder that it writes to, under ``manifests/`` of the run folder:
``results/evaluate/.../metrics.json`` and its siblings are described in
``manifests/results/evaluate/.../metrics.manifest.json``. Wall times and the like stand only
there, so that results themselves are repeatable to the byte.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from spikereach.config import overrides
from spikereach.files import replace
from spikereach.identity import digest, file_checksum, params
from spikereach.provenance import environment

FOLDER = Path("manifests")
SUFFIX = ".manifest.json"


class ManifestError(ValueError):
    """A manifest is damaged, or a file is not what its manifest says."""


@dataclass(frozen=True)
class Manifest:
    """What a job read and wrote. Paths are relative to the run folder, checksums SHA-256."""

    rule: str
    outputs: dict[str, str]
    """Path -> checksum."""
    inputs: dict[str, str]
    """Path -> checksum; absolute where a file lies outside the run folder."""
    conditions: dict[str, Any]
    """All else, JSON-like; see `recorded`."""

    def write(self) -> None:
        """Write one copy for each folder of outputs, relative to the working directory.

        Raises:
            OSError: the disk is full, the folder read-only, ...
        """
        for path in _places(self.outputs):
            replace(path, _text(asdict(self)))


@contextlib.contextmanager
def recorded(snakemake: Any) -> Iterator[None]:
    """Check a job's inputs, run the body, and write down what the job was.

    The conditions are: wildcards; digests of params and configuration; what the configuration
    has other than ``config.yaml`` (overlays and ``--config``); source of the data; seed (None
    where the rule has none); device; threads; Python, packages, platform, GPU, commit; UTC of
    the start, and wall time in seconds by a clock that nobody can set back.

    Raises:
        ManifestError: an input was altered since it was made.
        OSError: the disk is full, the folder read-only, ...
    """
    started, begun = datetime.now(UTC), time.monotonic()
    for place in _places(snakemake.output):  # where that fails, no work is lost yet
        place.parent.mkdir(parents=True, exist_ok=True)
    withdraw(snakemake.output)
    inputs = check(snakemake.input)
    yield
    wildcards, config = dict(snakemake.wildcards.items()), snakemake.config
    conditions = {
        "wildcards": wildcards,
        "params": digest(params(snakemake)),
        "config": digest(config),
        "overrides": overrides(_defaults(snakemake), config),
        "source": config["source"],
        "seed": int(wildcards["seed"]) if "seed" in wildcards else None,
        "threads": config["threads"],
        **environment(),
    }
    conditions["device"] = "cpu" if conditions["gpu"] is None else "cuda"
    conditions["started"] = started.isoformat(timespec="seconds")
    conditions["wall_s"] = round(time.monotonic() - begun, 3)
    outputs = {path: file_checksum(path) for path in snakemake.output}
    Manifest(snakemake.rule, outputs, inputs, conditions).write()


def _defaults(snakemake: Any) -> dict[str, Any]:
    """``config.yaml`` of the workflow; empty where it does not lie beside it."""
    folder = Path(snakemake.scriptdir).resolve()  # rules name it as rules/../scripts
    path = folder.parents[1] / "config.yaml"
    return yaml.safe_load(path.read_text()) if path.is_file() else {}


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it is damaged.
        FileNotFoundError: it is gone.
    """
    try:
        text = path.read_bytes()
        content = json.loads(text)
        del content["sha256"]
        if _text(content) != text:
            raise ValueError("its content does not match its checksum")
        manifest = Manifest(**content)
        for files in (manifest.outputs, manifest.inputs):
            if not all(isinstance(each, str) for pair in files.items() for each in pair):
                raise ValueError("paths and checksums must be text")
        for name in manifest.outputs:
            if not _inside(name):
                raise ValueError(f"{name} is outside the run folder")
        manifest.conditions.items()
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path} is damaged or no manifest ({error})") from error
    return manifest


def of(path: str, run: Path = Path()) -> Manifest | None:
    """The manifest of a file of a run, None where there is none that can be read.

    Args:
        path: relative to the run folder.
        run: the run folder.
    """
    found = (manifest for _, manifest in _beside([path], run) if path in manifest.outputs)
    return next(found, None)


def check(inputs: Iterable[str]) -> dict[str, str]:
    """Checksums of a job's inputs, each compared with what the job that made it wrote.

    A file without a manifest, such as one's own recording, is taken as it is.

    Raises:
        ManifestError: a file was altered since it was made.
    """
    known = {}
    for _, manifest in _beside(inputs := list(inputs), Path()):
        known |= {path: (manifest.rule, sha256) for path, sha256 in manifest.outputs.items()}
    found = {path: file_checksum(path) for path in inputs}
    for path, sha256 in found.items():
        rule, expected = known.get(path, (None, sha256))
        if sha256 != expected:
            raise ManifestError(
                f"{path}: its content is not what {rule} wrote (SHA-256 {sha256}, expected "
                f"{expected}); delete it and run again, so that it is made anew"
            )
    return found


def withdraw(outputs: Iterable[str]) -> None:
    """Remove the manifests of files that are about to be made anew."""
    outputs = set(outputs)
    for path, manifest in _beside(outputs, Path()):
        if not outputs.isdisjoint(manifest.outputs):
            path.unlink(missing_ok=True)


def _text(content: dict[str, Any]) -> bytes:
    """The one form of a manifest: JSON with a checksum of its own."""
    whole = content | {"sha256": digest(content)}
    return (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()


def _inside(path: str) -> bool:
    """Whether a path stays in the run folder."""
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts


def _places(outputs: Iterable[str]) -> list[Path]:
    """One manifest per folder, named after the first output there."""
    first: dict[PurePosixPath, str] = {}
    for path in map(PurePosixPath, outputs):
        first.setdefault(path.parent, path.stem)
    return [FOLDER / folder / f"{stem}{SUFFIX}" for folder, stem in first.items()]


def _beside(paths: Iterable[str], run: Path) -> list[tuple[Path, Manifest]]:
    """All manifests that may know these files; damaged ones, which prove nothing, left out."""
    folders = {PurePosixPath(path).parent for path in paths if _inside(path)}
    found = []
    for folder in sorted(folders):
        for path in sorted((run / FOLDER / folder).glob(f"*{SUFFIX}")):
            with contextlib.suppress(ManifestError, FileNotFoundError):
                found.append((path, read(path)))
    return found
