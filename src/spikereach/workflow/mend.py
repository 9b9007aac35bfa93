"""The lines that mend a run, to be pasted into a shell."""

import os
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import yaml

import spikereach
from spikereach.workflow.manifest import Manifest

WHOLE = "results/config.yaml"
"""The whole configuration, where it was asked for."""


def commands(
    run: Path, delete: Iterable[str], make: Iterable[str], made: Mapping[str, Manifest]
) -> list[str]:
    """Delete files of a run, then make files with the configuration of its latest job.

    Snakemake alone does not miss a file from which all is made that was asked for: every file that
    is to be made must be named.

    Args:
        run: the folder.
        delete: files in it.
        make: files in it; what they are made from follows.
        made: file -> manifest of the job that wrote it.
    """
    present = [_path(run / path) for path in dict.fromkeys(delete) if (run / path).exists()]
    options = [] if run.resolve() == Path.cwd() else ["--directory", _path(run)]
    known, overlay = _overlay(run, made)
    options += ["--configfile", _path(overlay)] if overlay else []
    checkout = Path(spikereach.__file__).resolve().parents[2] / "Snakefile"
    if checkout.is_file() and not Path("Snakefile").is_file():
        options += ["--snakefile", _path(checkout)]
    # Options that take several values would take targets, too.
    targets = sorted(dict.fromkeys(make))
    removal = [shlex.join(["rm", *present])] if present else []
    return [*removal, *known, shlex.join(["snakemake", "--cores", "2", *options, "--", *targets])]


def last_of(rests: Collection[str], made: Mapping[str, Manifest]) -> list[str]:
    """Of files that rest on one another, those on which nothing rests: one of each job."""
    jobs = {min(made[each].outputs): made[each] for each in rests if each in made}
    used = {path for job in jobs.values() for path in job.inputs}
    return [first for first, job in jobs.items() if used.isdisjoint(job.outputs)]


def _overlay(run: Path, made: Mapping[str, Manifest]) -> tuple[list[str], Path | None]:
    """A line that writes the overlay of the latest job where it is needed, and its path."""
    latest = max(made.values(), key=lambda job: job.conditions.get("started", ""), default=None)
    overrides = latest.conditions.get("overrides") if latest else None
    if not overrides:
        return [], None
    whole = made.get(WHOLE)
    if whole and whole.conditions.get("config") == latest.conditions.get("config"):
        return [], run / WHOLE
    # JSON would not do: YAML takes its 1e-07 for a text.
    text = yaml.safe_dump(overrides, default_flow_style=True, width=float("inf"), sort_keys=False)
    path = run / "overrides.yaml"
    return [f"printf '%s\\n' {shlex.quote(text.strip())} > {shlex.quote(_path(path))}"], path


def _path(path: Path) -> str:
    """Short where it lies below the working directory."""
    path = Path(os.path.abspath(path))
    below = path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd()) if below else path)
