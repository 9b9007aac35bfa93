"""Checksums of a run, recomputed from its tables down to the recordings."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikereach.config.sessions import ZENODO
from spikereach.export import folder as exports
from spikereach.identity import file_checksum
from spikereach.progress import progress_bar
from spikereach.provenance import short_commit
from spikereach.published.weights import sources
from spikereach.workflow.manifest import FOLDER, SUFFIX, Manifest, ManifestError, in_run, read
from spikereach.workflow.mend import commands, last_of

RESULTS = (
    "data/raw/*.mat",
    "data/binned/*.h5",
    "results/*/*/*/seed*/*.*",
    "results/search/*/trial*.json",
    "paper_tables/*.csv",
    "figures/*.csv",
)
"""Files that only jobs write: each must have a manifest."""
PARTS = ("data", "results", "paper_tables", "figures")
"""Folders in which nothing lies but what jobs write."""
AGAIN = "make it again"
ANEW = "delete it and make it again"
CHECK = "delete its .md5: it is checked then, and kept"
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
    delete: tuple[str, ...] = ()
    """Files that Snakemake would otherwise take as they are."""
    make: tuple[str, ...] = ()
    """Files to ask it for."""
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


@dataclass(frozen=True)
class Report:
    """What `verify` found."""

    breaks: list[Break]
    warnings: list[str]
    files: int
    """Files whose content was read."""
    jobs: int
    """Jobs whose manifests were read."""
    commands: list[str]
    """Lines of a shell that mend all of it; none where nothing is broken."""
    recordings: Counter[str]
    """Source of the data -> recordings at the bottom of the chain."""


def verify(target: str | Path) -> Report:
    """Recompute the checksums of a run, or of one file and all it was made from.

    Every file is compared with the manifest of the job that wrote it, every manifest with
    those of the jobs that its inputs came from, recordings with the MD5 of the Zenodo record
    and published weights with their published SHA-256.

    An exported decoder is compared with its own manifest, and its checkpoint as any file.

    Args:
        target: a run folder, a file in one, or the folder of an exported decoder.
    Raises:
        VerifyError: it is no run folder, or no file in one; no job made anything there.
    """
    if (told := exports.read(Path(target))) is not None:
        return _export(Path(target), told)
    run, start = _locate(Path(target))
    made, damaged = _manifests(run)
    if start is not None and start[0] not in made and Path(start[0]).parts[0] not in PARTS:
        raise VerifyError(f"{target}: no job made it; give a table, a figure or a result")
    if start is None:
        found = (path for pattern in RESULTS for path in run.glob(pattern))
        results = {path.relative_to(run).as_posix() for path in found if path.name[0] != "."}
        start = sorted(made.keys() | results)
    if not start and not damaged:
        raise _nothing(run)
    chain = _Chain(run, made, start)
    breaks = chain.breaks(unreadable={Path(each.path).parent for each in damaged})
    # from the recordings up to the tables
    breaks = damaged + sorted(breaks, key=lambda each: (-len(each.rests), each.path))
    delete = [path for each in breaks for path in each.delete]
    make = [path for each in breaks for path in (*each.make, *last_of(each.rests, made))]
    return Report(
        breaks=breaks,
        commands=commands(run, delete, make, made) if breaks else [],
        warnings=_warnings(chain.jobs),
        files=len(chain.found),
        jobs=len(chain.jobs),
        recordings=Counter(
            known.conditions.get("source", "unknown")
            for path, job in chain.files.items()
            if (known := job or chain.checked.get(path)) and _is_recording(path)
        ),
    )


def _export(folder: Path, told: dict[str, Any]) -> Report:
    """Of an exported decoder and, where it was made by a run, of its checkpoint."""
    again = "export it again"
    known, breaks = told["files"] | {told["checkpoint"]: told["checkpoint_sha256"]}, []
    for name, expected in known.items():
        path = folder / name
        if not path.is_file():
            breaks.append(Break(str(path), "is missing", f"put it back, or {again}"))
        elif (found := file_checksum(path)) != expected:
            problem = "is not what was exported"
            breaks.append(Break(str(path), problem, again, expected, found))
    checkpoint = Path(os.path.normpath(folder / told["checkpoint"]))
    place, below = in_run(checkpoint), None
    if checkpoint.is_file() and place and Path(place[1]).parts[0] in PARTS:
        below = verify(checkpoint)
    return Report(
        breaks=(below.breaks if below else []) + breaks,
        warnings=below.warnings if below else [],
        files=len(known) - len(breaks) + (below.files - 1 if below else 0),
        jobs=1 + (below.jobs if below else 0),
        commands=below.commands if below else [],
        recordings=below.recordings if below else Counter(),
    )


def _is_recording(path: str) -> bool:
    return path.startswith("data/raw/") and path.endswith(".mat")


def _locate(target: Path) -> tuple[Path, list[str] | None]:
    """The run folder, and the files to begin with; None: all."""
    if target.is_dir():
        if not (target / FOLDER).is_dir():
            raise _nothing(target)
        return target, None
    if place := in_run(target):
        run, name = place
        return run, [name]
    raise VerifyError(
        f"{target}: {'lies in no run folder' if target.exists() else 'no such file'}; give a run "
        f"folder (one with {FOLDER}/) or a file in one"
    )


def _nothing(folder: Path) -> VerifyError:
    """For a folder in which no job made anything."""
    below = [str(path.parent) for path in sorted(folder.glob(f"runs/*/{FOLDER}"))]
    named = f", such as {' or '.join(below)}" if below else ""
    return VerifyError(
        f"{folder}: nothing was made here: no job left a manifest in {FOLDER}/; give the folder "
        f"that --directory named{named}, or a file in it"
    )


def _manifests(run: Path) -> tuple[dict[str, Manifest], list[Break]]:
    """File -> manifest of the job that wrote it; and the damaged manifests."""
    made: dict[str, Manifest] = {}
    damaged = []
    for path in sorted((run / FOLDER).rglob(f"*{SUFFIX}")):
        name = path.relative_to(run).as_posix()
        try:
            manifest = read(path)
        except ManifestError:
            stem = name.removeprefix(f"{FOLDER}/").removesuffix(SUFFIX)
            beside = [each.relative_to(run).as_posix() for each in sorted(run.glob(f"{stem}.*"))]
            told = tuple(path for path in beside if not _is_recording(path))  # it is checked anew
            remedy = f"delete it and {', '.join(told) or 'nothing else'}, and make these again"
            problem = "the manifest is damaged"
            damaged.append(Break(name, problem, remedy, delete=(name, *told), make=told))
        else:
            made |= dict.fromkeys(manifest.outputs, manifest)
    return made, damaged


class _Chain:
    """The files that some files were made from, they among them."""

    def __init__(self, run: Path, made: Mapping[str, Manifest], start: Iterable[str]):
        self.run = run
        self.files: dict[str, Manifest | None] = {}
        """File -> what it is known to be."""
        self.users: dict[str, list[str]] = {}
        """File -> files that were made from it directly."""
        self.checked = {
            used: job
            for job in made.values()
            for used in job.inputs.keys() - made.keys()
            if used.startswith("data/raw/") and min(job.outputs).startswith("data/raw/")
        }
        """Recording that was put there by hand -> the job that checked it."""
        waiting = list(start)
        while waiting:
            path = waiting.pop()
            if path not in self.files:
                self.files[path] = manifest = made.get(path)
                for used in manifest.inputs if manifest else ():
                    self.users.setdefault(used, []).append(path)
                    waiting.append(used)
        self.jobs = {next(iter(job.outputs)): job for job in self.files.values() if job is not None}
        """The jobs that wrote them, each under its first file."""
        present = [path for path in sorted(self.files) if (run / path).is_file()]
        size = sum((run / path).stat().st_size for path in present)
        with progress_bar(total=size, unit="B", unit_scale=True, disable=None) as bar:
            self.found = {path: file_checksum(run / path, advance=bar.update) for path in present}
        """File -> checksum of its content; without those that are missing."""

    def breaks(self, unreadable: set[Path]) -> Iterator[Break]:
        """Links that do not hold.

        Args:
            unreadable: folders of damaged manifests, of which is told already.
        """
        published = {f"data/weights/{file.file}": ("sha256", file.sha256) for file in sources()}
        published |= {f"data/raw/{name}.mat": ("md5", s.md5) for name, s in ZENODO.items() if s.md5}
        for path, job in self.files.items():
            found = self.found.get(path)
            if job is None:
                if Path(path).is_absolute() or (FOLDER / path).parent in unreadable:
                    continue  # a recording of one's own, or told already
                if found is None:
                    yield self._break(path, "is missing, and so is its manifest", AGAIN)
                elif checker := self.checked.get(path):
                    if found != (expected := checker.inputs[path]):
                        problem = f"was put here, and altered since {checker.rule} checked it"
                        checked = next(iter(checker.outputs))
                        remedy = f"put the earlier file back, or delete {checked} and {AGAIN}"
                        yield self._break(path, problem, remedy, expected, found, anew=checked)
                elif path not in published or self._published(path, *published[path]) is not None:
                    problem = "has no manifest: the job that made it was killed, or it was put here"
                    if _is_recording(path):
                        checked = path.removesuffix(".mat") + ".md5"
                        yield self._break(path, problem, CHECK, anew=checked)
                    else:
                        yield self._break(path, problem, ANEW, anew=path)
            elif found is None:
                yield self._break(path, f"is missing; {job.rule} wrote it", AGAIN)
            elif found != (expected := job.outputs[path]):
                problem = f"its content is not what {job.rule} wrote"
                yield self._break(path, problem, ANEW, expected, found, anew=path)
            elif path in published and (broken := self._published(path, *published[path])):
                yield broken
        for path, job in self.jobs.items():
            for used, expected in job.inputs.items():
                if used in self.checked:
                    continue  # compared above
                maker = self.files[used]
                found = maker.outputs[used] if maker else self.found.get(used)
                if found not in (expected, None):
                    problem = f"was made from another version of {used} than lies there"
                    yield self._break(path, problem, ANEW, expected, found, anew=path)

    def _published(self, path: str, algorithm: str, expected: str) -> Break | None:
        """Compare a file with what was published under its name."""
        if (found := file_checksum(self.run / path, algorithm)) == expected:
            return None
        problem = "is not the published file of that name"
        remedy = f"{ANEW}; or give it another name"
        return self._break(path, problem, remedy, expected, found, anew=path)

    def _break(self, path: str, *about: str | None, anew: str | None = None) -> Break:
        """With all that was made from the file, nearest first.

        Args:
            path: the file.
            about: as in :class:`Break`, from its problem on.
            anew: the file to delete and to make in its place; None: the file itself is not there.
        """
        above: dict[str, None] = {}
        waiting = [path]
        for each in waiting:
            users = [user for user in self.users.get(each, ()) if user not in above]
            above |= dict.fromkeys(users)
            waiting += users
        delete = () if anew is None else (anew,)
        return Break(path, *about, delete=delete, make=(anew or path,), rests=tuple(above))


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
