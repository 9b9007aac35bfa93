"""Manifests: what every job of the workflow read, wrote and ran with.

A job leaves one JSON file per folder that it writes to, under ``manifests/`` of the run folder:
``results/evaluate/.../metrics.json`` and its siblings are described in
``manifests/results/evaluate/.../metrics.manifest.json``. Wall times and the like stand only
there, so that results themselves are repeatable to the byte.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from spikereach.config.overlays import overrides
from spikereach.files import read_error, replace
from spikereach.identity import digest, file_checksum, params_key
from spikereach.provenance import environment

FOLDER = Path("manifests")
SUFFIX = ".manifest.json"


class ManifestError(ValueError):
    """A manifest is damaged, or a file is not what its manifest says."""


class Manifest(BaseModel):
    """What a job read and wrote. Paths are relative to the run folder, checksums SHA-256."""

    model_config = ConfigDict(frozen=True)

    rule: str
    outputs: dict[str, str]
    """Path -> checksum."""
    inputs: dict[str, str]
    """Path -> checksum; absolute where a file lies outside the run folder."""
    conditions: dict[str, Any]
    """All else, JSON-like; see `recorded`."""

    @field_validator("outputs")
    @classmethod
    def _lie_in_the_run_folder(cls, outputs: dict[str, str]) -> dict[str, str]:
        if not all(map(_inside, outputs)):
            raise ValueError("outside the run folder")
        return outputs

    def text(self) -> bytes:
        """The one form of a manifest: JSON with a checksum of its own."""
        whole = self.model_dump() | {"sha256": digest(self)}
        return (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()

    def write(self) -> None:
        """Write one copy for each folder of outputs, relative to the working directory.

        Raises:
            OSError: the disk is full, the folder read-only, ...
        """
        for path in _places(self.outputs):
            replace(path, self.text())


@dataclass
class Record:
    """What a job reads and writes; the body may add files that Snakemake is not told of."""

    inputs: list[str]
    outputs: list[str]
    earlier: dict[str, str]
    """Path -> checksum of all that an earlier job wrote that had some of the same outputs."""


@contextlib.contextmanager
def recorded(snakemake: Any) -> Iterator[Record]:
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
    record = Record(list(snakemake.input), list(snakemake.output), {})
    superseded = []
    for path, earlier in _beside(snakemake.output):
        if not earlier.outputs.keys().isdisjoint(snakemake.output):
            superseded.append(path)
            record.earlier |= earlier.outputs
            if earlier.outputs.keys() <= set(snakemake.output):  # nothing that it says holds
                path.unlink(missing_ok=True)
    inputs = check(snakemake.input)
    yield record
    inputs |= {path: file_checksum(path) for path in record.inputs if path not in inputs}
    wildcards, config = dict(snakemake.wildcards.items()), snakemake.config
    folder = Path(snakemake.scriptdir).resolve()  # rules name it as rules/../scripts
    path = folder.parents[1] / "config.yaml"
    conditions = {
        "wildcards": wildcards,
        "params": params_key(snakemake),
        "config": digest(config),
        "overrides": overrides(yaml.safe_load(path.read_bytes()) if path.is_file() else {}, config),
        "source": config["source"],
        "seed": int(wildcards["seed"]) if "seed" in wildcards else None,
        "threads": config["threads"],
        **environment(),
    }
    conditions["device"] = "cpu" if conditions["gpu"] is None else "cuda"
    conditions["started"] = started.isoformat(timespec="seconds")
    conditions["wall_s"] = round(time.monotonic() - begun, 3)
    outputs = {path: file_checksum(path) for path in record.outputs}
    for path in superseded:
        path.unlink(missing_ok=True)
    Manifest(rule=snakemake.rule, outputs=outputs, inputs=inputs, conditions=conditions).write()


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it is damaged.
        OSError: it cannot be read.
    """
    try:
        text = path.read_bytes()
        manifest = Manifest.model_validate_json(text)
    except OSError as error:
        raise read_error(path, error) or error from error
    except ValidationError as error:
        raise ManifestError(f"{path} is damaged or no manifest: {error}") from error
    if manifest.text() != text:
        raise ManifestError(f"{path} is damaged: its content does not match its checksum")
    return manifest


def check(inputs: Iterable[str]) -> dict[str, str]:
    """Checksums of a job's inputs, each compared with what the job that made it wrote.

    A file that no job made, such as a recording put there by hand, is compared with what it was
    when a job beside it read it, and otherwise taken as it is.

    Raises:
        ManifestError: a file was altered since it was made, or read.
    """
    found = {path: file_checksum(path) for path in inputs}
    beside = [manifest for _, manifest in _beside(found)]
    made = {path: manifest for manifest in beside for path in manifest.outputs}
    read = {path: manifest for manifest in beside for path in manifest.inputs}
    for path, sha256 in found.items():
        if path not in made and path in read and sha256 != (expected := read[path].inputs[path]):
            raise ManifestError(
                f"{path}: was altered since {read[path].rule} checked it (SHA-256 {sha256}, "
                f"expected {expected}); put the earlier file back, or delete "
                f"{min(read[path].outputs)} and run again, so that it is checked anew"
            )
        if path in made and sha256 != (expected := made[path].outputs[path]):
            raise ManifestError(
                f"{path}: its content is not what {made[path].rule} wrote (SHA-256 {sha256}, "
                f"expected {expected}); delete it and run again, so that it is made anew"
            )
    return found


def written(path: str) -> bool:
    """Whether a job is known to have written a file, which may be another one by now."""
    return any(path in manifest.outputs for _, manifest in _beside([path]))


def conditions(path: Path) -> dict[str, Any]:
    """What the job ran with that wrote a file in some run folder; empty where no manifest tells."""
    return found[1].conditions if (found := _maker(path)) else {}


def inputs(path: Path) -> list[Path]:
    """What the job read that wrote a file in some run folder, each file as it was then.

    Raises:
        ManifestError: no manifest tells, or a file is not there any more, or is another one.
    """
    if (found := _maker(path)) is None:
        raise ManifestError(
            f"{path}: no manifest tells what it was made from: give the one in the run folder that "
            f"made it, which has {FOLDER}/ beside results/"
        )
    run, job = found
    for name, sha256 in job.inputs.items():
        if not (run / name).is_file() or file_checksum(run / name) != sha256:
            raise ManifestError(
                f"{run / name}: is missing, or another one than {path} was made from: "
                f"`spikereach verify {run}` tells what to make again"
            )
    return [run / name for name in job.inputs]


def _maker(path: Path) -> tuple[Path, Manifest] | None:
    """The run folder of a file, and the manifest of the job that wrote it."""
    if (place := in_run(path)) is None:
        return None
    run, name = place
    found = (manifest for _, manifest in _beside([name], run) if name in manifest.outputs)
    return next(((run, manifest) for manifest in found), None)


def in_run(path: Path) -> tuple[Path, str] | None:
    """The run folder in which a path lies, and how manifests call it there; None outside of any."""
    whole = path.absolute()
    for run in whole.parents:
        if (run / FOLDER).is_dir():
            return run, whole.relative_to(run).as_posix()
    return None


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


def _beside(paths: Iterable[str], run: Path = Path()) -> list[tuple[Path, Manifest]]:
    """All manifests that may know these files; without damaged ones, which prove nothing."""
    folders = {PurePosixPath(path).parent for path in paths if _inside(path)}
    found = []
    for folder in sorted(folders):
        for path in sorted((run / FOLDER / folder).glob(f"*{SUFFIX}")):
            with contextlib.suppress(ManifestError):
                found.append((path, read(path)))
    return found
