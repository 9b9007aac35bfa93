"""What every workflow script does around its work: logging, threads, errors, resumable state."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from spikereach.config import ConfigError
from spikereach.files import remedy
from spikereach.identity import job_key
from spikereach.surroundings import settle
from spikereach.workflow import gpus
from spikereach.workflow.manifest import Record, recorded

CACHE = Path(".cache")
RESUME = CACHE / "resume"
"""States from which killed jobs go on, each job's in a folder of its own."""
ERRORS = CACHE / "errors.txt"
"""One line per failed job of the run, which begins without; `print_errors` repeats them."""
FUTURE_S = 60.0
"""Clocks of machines that share a file system may differ by this."""


class ClockError(RuntimeError):
    """Files come from the future: names one, and the remedy."""


@dataclass(frozen=True)
class Job:
    """What a script asks of its job beyond inputs, outputs and params."""

    snakemake: Any
    record: Record | None = None
    """What its manifest will say; only while it runs."""

    @property
    def wants_gpu(self) -> bool:
        """Whether its rule asks for one, and the configuration does not forbid it."""
        forbidden = self.snakemake.config["device"] == "cpu"
        return not forbidden and bool(self.snakemake.resources.get("gpu", 0))

    @property
    def device(self) -> str:
        """The torch device: "cuda" where the job wants and has a GPU, else "cpu"."""
        import torch

        if not self.wants_gpu:
            return "cpu"
        if torch.cuda.is_available():
            return "cuda"
        if self.snakemake.config["device"] == "auto":
            return "cpu"
        raise ConfigError("device: cuda is asked for, but torch sees no GPU; set `device: auto`")

    @cached_property
    def resume(self) -> Path:
        """Folder of the state from which the job goes on after being killed.

        Outside `output:`, because Snakemake deletes the outputs of a failed job; a changed job
        has another one and starts afresh.
        """
        folder = self._state
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def _state(self) -> Path:
        return RESUME / job_key(self.snakemake)[:32]

    @property
    def goes_on(self) -> bool:
        """Whether it was killed before and has saved some state."""
        # Without any, inputs need not be read.
        return any(RESUME.glob("*/*")) and any(self._state.glob("*"))

    @property
    def training(self) -> dict[str, Any]:
        """Options that every training takes: device, progress, events (beside the log)."""
        config = self.snakemake.config
        events = Path(self.snakemake.log[0]).with_suffix("") if config["events"] else None
        return {"device": self.device, "progress": config["progress"], "events": events}


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[Job]:
    """Run the body of a workflow script.

    What the job reads is checked, and what it was is written down (`spikereach.workflow.manifest`).
    All output goes to the rule's ``log:``; Snakemake leaves that of an earlier attempt alone, and
    so does a job that goes on from its state. Torch and its libraries must be imported inside,
    because the number of threads and the visible GPUs are set here. An error ends the process
    with exit code 1: those that this package raises on purpose, and those of the file system,
    as one line; all others with their traceback in the log.
    """
    # From the configuration and not from `threads:`, which shrinks with --cores: the order of
    # floating-point sums depends on it.
    settle(threads=snakemake.config["threads"])
    _end_with_parent()
    with (
        _alone(snakemake.log[0]) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            if not Job(snakemake).goes_on:
                log.truncate(0)
            _check_dates(snakemake.input)
            places = snakemake.config["jobs_per_gpu"] if Job(snakemake).wants_gpu else 0
            with gpus.lease(places) as gpu, recorded(snakemake) as record:
                run = Job(snakemake, record)
                if run.wants_gpu:
                    log.write(f"GPU {gpu}\n" if gpu else "no GPU is visible\n")
                yield run
            if "resume" in vars(run):  # it has some state
                shutil.rmtree(run.resume, ignore_errors=True)
        except Exception as error:
            message = one_line(error)
            if message is None:
                traceback.print_exc()
                message = f"{type(error).__name__}: {error} (traceback in {snakemake.log[0]})"
            log.write(f"error: {message}\n")
            with contextlib.suppress(OSError):  # a full disk: the log or the terminal has it
                CACHE.mkdir(exist_ok=True)
                with ERRORS.open("a", encoding="utf-8") as file:
                    file.write(message + "\n")
            sys.exit(1)


def _end_with_parent() -> None:
    """Have Linux send SIGTERM should Snakemake be killed: jobs then save their state and end."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[TextIO]:
    """The log of a job, once no other process works on the same job.

    A job may outlive the Snakemake that started it, above all on a cluster: two would get in
    the way of each other's files. The log itself is locked, which leaves no files of locks
    beside it, as filelock would.
    """
    with open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace") as log:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{path}: waiting for a job of an earlier run to end", file=sys.stderr)
                fcntl.flock(log, fcntl.LOCK_EX)
        yield log


def _check_dates(paths: Iterable[str]) -> None:
    """Refuse inputs dated in the future, before any work.

    Snakemake would remove what a job made from them, because it seems older than they are.
    """
    for path in paths:
        dated = os.stat(path).st_mtime
        if dated > time.time() + FUTURE_S:
            raise ClockError(
                f"{path} is dated {time.ctime(dated)}, but the clock says {time.ctime()}: set the "
                "clock if it is wrong, then date such files anew, in the run folder, with "
                "find . -newermt now -exec touch -d now {} +"
            )


def one_line(error: Exception) -> str | None:
    """The message of an expected error, or None for a bug."""
    if type(error).__module__.partition(".")[0] == "spikereach":
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        frames = traceback.extract_tb(error.__traceback__)
        where = error.filename or (f"in {frames[-1].filename}" if frames else "unknown place")
        return f"{error.strerror}: {where}: {remedy(error)}"
    return None


def print_errors() -> None:
    """Repeat what went wrong as the last thing on the terminal, each message once."""
    lines = ERRORS.read_text("utf-8").splitlines() if ERRORS.exists() else []
    for line in dict.fromkeys(lines):
        print(f"\nerror: {line}", file=sys.stderr)
