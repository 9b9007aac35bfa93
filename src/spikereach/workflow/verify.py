"""Checksums of a run, recomputed from its tables down to the recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from spikereach.config.sessions import ZENODO
from spikereach.identity import file_checksum
from spikereach.provenance import short_commit
from spikereach.published.weights import sources
from spikereach.workflow.manifest import FOLDER, SUFFIX, Manifest, ManifestError, read

RESULTS = (
    "data/raw/*.mat",
    "data/binned/*.h5",
    "results/*/*/*/seed*/*.*",
    "results/search/trial*.json",
    "paper_tables/*.csv",
    "figures/*.csv",
)
"""Files that only jobs write: each must have a manifest."""
AGAIN = "run snakemake for this file, then for the whole"
"""Snakemake alone does not miss a file from which all is made that was asked for."""
SHOWN = 5
"""Results that a message lists; of more it gives the number."""


class VerifyError(ValueError):
    """There is nothing to verify: names the folder or file and the remedy."""


@dataclass(frozen=True)
class Break:
    """A link of the chain that does not hold."""

    path: str
    problem: str
    remedy: str
    expected: str | None = None
    """Checksum."""
    found: str | None = None
    rests: tuple[str, ...] = ()
    """Results that were made from it, directly or not."""

    def lines(self) -> list[str]:
        """As the command line prints it."""
        lines = [f"{self.path}: {self.problem}"]
        if self.expected is not None:
            lines += [f"  expected  {self.expected}", f"  found     {self.found}"]
        if self.rests:
            more = len(self.rests) - SHOWN
            shown = ", ".join(self.rests[-SHOWN:]) + f" and {more} more" * (more > 0)
            lines.append(f"  on it rests {shown}")
        return [*lines, f"  remedy: {self.remedy}"]


@dataclass
class Report:
    """What `verify` found."""

    breaks: list[Break] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: int = 0
    """Files whose content was read."""
    jobs: int = 0
    """Jobs whose manifests were read."""
    recordings: Counter[str] = field(default_factory=Counter)
    """Source of the data -> recordings at the bottom of the chain."""


Progress = Callable[[int], Callable[[int], Any]]
"""Given the bytes to read in all, returns a function that is told of each piece read."""


def verify(target: str | Path, progress: Progress = lambda total: lambda size: None) -> Report:
    """Recompute the checksums of a run, or of one file and all it was made from.

    Every file is compared with the manifest of the job that wrote it, every manifest with
    those of the jobs that its inputs came from, recordings with the MD5 of the Zenodo record
    and published weights with their published SHA-256.

    Args:
        target: a run folder, or a file in one.
        progress: for a progress bar.
    Raises:
        VerifyError: it is no run folder, or no file in one.
    """
    run, start = _locate(Path(target))
    made, report = _manifests(run)
    if start is None:
        start = sorted(made.keys() | _results(run))
    chain = _Chain(run, made, start, unreadable={Path(b.path).parent for b in report.breaks})
    chain.read(progress)
    report.breaks += chain.breaks()
    report.warnings += _warnings(chain.jobs)
    report.files = sum(each is not None for each in chain.found.values())
    report.jobs = len(chain.jobs)
    report.recordings.update(
        job.conditions.get("source", "unknown")
        for path, job in chain.files.items()
        if job is not None and _is_recording(path)
    )
    return report


def _locate(target: Path) -> tuple[Path, list[str] | None]:
    """The run folder, and the files to begin with; None: all."""
    if target.is_dir():
        if not (target / FOLDER).is_dir():
            raise VerifyError(
                f"{target}: has no folder {FOLDER}/, so it is no run folder, or its results were "
                "made without manifests; give the folder in which results/ lies, or a file there"
            )
        return target, None
    whole = target.absolute()
    for run in whole.parents:
        if (run / FOLDER).is_dir():
            return run, [whole.relative_to(run).as_posix()]
    raise VerifyError(
        f"{target}: {'lies in no run folder' if target.exists() else 'no such file'}; give a run "
        f"folder (one with {FOLDER}/) or a file in one"
    )


def _results(run: Path) -> set[str]:
    found = (path for pattern in RESULTS for path in run.glob(pattern))
    return {path.relative_to(run).as_posix() for path in found if path.name[0] != "."}


def _manifests(run: Path) -> tuple[dict[str, Manifest], Report]:
    """File -> manifest of the job that wrote it; damaged manifests are breaks."""
    made: dict[str, Manifest] = {}
    report = Report()
    for path in sorted((run / FOLDER).rglob(f"*{SUFFIX}")):
        name = path.relative_to(run).as_posix()
        try:
            manifest = read(path)
        except ManifestError:
            files = Path(name).relative_to(FOLDER)
            stem = files.with_name(files.name.removesuffix(SUFFIX))
            remedy = f"delete it and {stem}.*, run snakemake for these files, then for the whole"
            report.breaks.append(Break(name, "the manifest is damaged", remedy))
        else:
            made |= dict.fromkeys(manifest.outputs, manifest)
    return made, report


class _Chain:
    """The files that some files were made from, they among them."""

    def __init__(
        self, run: Path, made: Mapping[str, Manifest], start: Iterable[str], unreadable: set[Path]
    ):
        self.run, self.unreadable = run, unreadable
        self.files: dict[str, Manifest | None] = {}
        """File -> what it is known to be."""
        self.users: dict[str, list[str]] = {}
        """File -> files that were made from it directly."""
        waiting = list(start)
        while waiting:
            path = waiting.pop()
            if path not in self.files:
                self.files[path] = manifest = made.get(path)
                for used in manifest.inputs if manifest else ():
                    self.users.setdefault(used, []).append(path)
                    waiting.append(used)
        self.found: dict[str, str | None] = {}
        """File -> checksum of its content; None where it is missing."""

    @cached_property
    def jobs(self) -> dict[str, Manifest]:
        """The jobs that wrote them, each under its first file."""
        return {next(iter(job.outputs)): job for job in self.files.values() if job is not None}

    def read(self, progress: Progress) -> None:
        present = {path: self.run / path for path in sorted(self.files)}
        sizes = {p: file.stat().st_size for p, file in present.items() if file.is_file()}
        advance = progress(sum(sizes.values()))
        for path, file in present.items():
            self.found[path] = file_checksum(file, advance=advance) if path in sizes else None

    def breaks(self) -> list[Break]:
        """From the recordings up to the tables."""
        found = [self._file(path) for path in self.files]
        found += [self._links(path, job) for path, job in self.jobs.items()]
        flat = [each for group in found for each in group]
        return sorted(flat, key=lambda each: (-len(each.rests), each.path))

    def _file(self, path: str) -> list[Break]:
        """A file against the manifest of the job that wrote it."""
        job, found, rests = self.files[path], self.found[path], self._above(path)
        if job is None:
            unreadable = (FOLDER / path).parent in self.unreadable
            if Path(path).is_absolute() or unreadable:  # a recording of one's own; told already
                return []
            if found is None:
                problem, remedy = "is missing, and so is its manifest", AGAIN
            else:
                problem = "has no manifest: the job that made it was killed, or it was put here"
                remedy = f"delete it and {AGAIN}"
            return [Break(path, problem, remedy, rests=rests)]
        expected = job.outputs[path]
        if found is None:
            return [Break(path, f"is missing; {job.rule} wrote it", AGAIN, rests=rests)]
        if found != expected:
            problem = f"its content is not what {job.rule} wrote"
            return [Break(path, problem, f"delete it and {AGAIN}", expected, found, rests)]
        return self._root(path)

    def _root(self, path: str) -> list[Break]:
        """Recordings and published weights against what was published."""
        published = None
        if _is_recording(path):
            session = ZENODO.get(Path(path).stem)
            published = session and session.md5
            found = published and file_checksum(self.run / path, "md5")
        elif path.startswith("data/weights/"):
            known = {f"data/weights/{source.file}": source.sha256 for source in sources()}
            published, found = known.get(path), self.found[path]
        if published is None or found == published:
            return []
        return [
            Break(
                path,
                "is not the published file of that name",
                f"delete it and {AGAIN}; or give it another name",
                published,
                found,
                self._above(path),
            )
        ]

    def _links(self, path: str, job: Manifest) -> list[Break]:
        """What a job read against what the jobs before it wrote."""
        breaks = []
        for used, expected in job.inputs.items():
            maker = self.files.get(used)
            found = maker.outputs[used] if maker else self.found.get(used)
            if found not in (expected, None):
                breaks.append(
                    Break(
                        path,
                        f"was made from another version of {used} than lies there",
                        f"delete it and {AGAIN}",
                        expected,
                        found,
                        self._above(path),
                    )
                )
        return breaks

    def _above(self, path: str) -> tuple[str, ...]:
        """All that was made from a file, nearest first."""
        above: dict[str, None] = {}
        waiting = [path]
        for each in waiting:
            for user in self.users.get(each, ()):
                if user not in above:
                    above[user] = None
                    waiting.append(user)
        return tuple(above)


def _is_recording(path: str) -> bool:
    return path.startswith("data/raw/") and path.endswith(".mat")


def _warnings(jobs: Mapping[str, Manifest]) -> list[str]:
    """What breaks no link, but should be known."""
    each = [job.conditions for job in jobs.values()]
    states = Counter(short_commit(c.get("commit"), c.get("dirty")) for c in each)
    mixed = {
        "commits": states,
        "configurations": Counter(str(c.get("config"))[:12] for c in each),
        "sources of data": Counter(str(c.get("source")) for c in each),
    }
    warnings = []
    for name, found in mixed.items():
        if len(found) > 1:
            listed = ", ".join(f"{value} ({number} jobs)" for value, number in found.most_common())
            warnings.append(f"made with several {name}: {listed}")
    changed = sum(n for name, n in states.items() if name.endswith("+"))
    if changed:
        warnings.append(f"{changed} jobs ran with uncommitted changes to the code")
    return warnings
