"""What every workflow script does around its work: logging, threads, errors, resumable state."""

from __future__ import annotations

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
from pathlib import Path
from typing import Any, TextIO

from spikereach.config import ConfigError
from spikereach.identity import job_key
from spikereach.workflow import gpus
from spikereach.workflow.manifest import recorded

CACHE = Path(".cache")
ERRORS = CACHE / "errors.txt"
"""One line per failed job of the present run; the Snakefile prints them at its end."""
BAR_S = 20.0
"""Time between two lines of a progress bar in a log."""


FUTURE_S = 60.0
"""Clocks of machines that share a file system may differ by this."""


class ClockError(RuntimeError):
    """Files come from the future: names one, and the remedy."""


class _Log:
    """A log file to which progress bars write a line now and then, instead of every frame."""

    def __init__(self, file: TextIO, terminal: TextIO | None = None):
        self.file, self.terminal = file, terminal
        self.line, self.last_s = "", time.monotonic()

    def write(self, text: str) -> int:
        if self.terminal is not None:
            self.terminal.write(text)
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            _, bar, shown = line.rpartition("\r")
            if shown.strip() or not bar:
                self.file.write(shown + "\n")
        frame = self.line.rpartition("\r")[2]
        if frame != self.line and frame.strip() and time.monotonic() - self.last_s > BAR_S:
            self.file.write(frame + "\n")
            self.line, self.last_s = "\r", time.monotonic()
        return len(text)

    def flush(self) -> None:
        for stream in filter(None, (self.file, self.terminal)):
            stream.flush()

    def isatty(self) -> bool:
        return self.terminal is not None


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Run the body of a workflow script.

    What the job reads is checked, and what it was is written down (`spikereach.workflow.manifest`).
    All output goes to the rule's ``log:``; where the terminal is a real one, progress bars
    are shown there as well. Torch and its libraries must be imported inside, because the
    number of threads and the visible GPUs are set here. An error ends the process with
    exit code 1: those that this package raises on purpose, and those of the file system,
    as one line; all others with their traceback in the log.
    """
    # From the configuration and not from `threads:`, which shrinks with --cores: the order of
    # floating-point sums depends on it.
    threads = str(snakemake.config["threads"])
    os.environ.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, NUMBA_NUM_THREADS=threads)
    terminal = sys.stderr
    _end_with_parent()
    with _alone(snakemake.log[0]) as log:
        errors = _Log(log, terminal if terminal.isatty() else None)
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(errors):
            try:
                _check_dates(snakemake.input)
                with _gpu(snakemake), recorded(snakemake):
                    yield
            except Exception as error:
                message = one_line(error)
                if message is None:
                    traceback.print_exc(file=log)
                    message = f"{type(error).__name__}: {error} (traceback in {snakemake.log[0]})"
                log.write(f"error: {message}\n")
                _remember(message)
                sys.exit(1)


def _end_with_parent() -> None:
    """Have Linux send SIGTERM should Snakemake be killed: jobs then save their state and end."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[TextIO]:
    """The empty log of a job, once no other process works on the same job.

    A job may outlive the Snakemake that started it, above all on a cluster: two would get in
    the way of each other's files.
    """
    with open(path, "a", buffering=1) as log:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{path}: waiting for a job of an earlier run to end", file=sys.stderr)
                fcntl.flock(log, fcntl.LOCK_EX)
        log.truncate(0)
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
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}: free some space or mend the permissions, then run again"
    return None


def _remember(message: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: the log or the terminal has it
        ERRORS.parent.mkdir(parents=True, exist_ok=True)
        with ERRORS.open("a") as file:
            file.write(message + "\n")


@contextlib.contextmanager
def _gpu(snakemake: Any) -> Iterator[None]:
    """Show a job one GPU of its own, or none where its rule asks for none."""
    if snakemake.resources.get("gpu", 0):
        with gpus.lease(snakemake.config["jobs_per_gpu"]) as gpu:
            print(f"GPU {gpu}" if gpu else "no GPU is visible", file=sys.stderr)
            yield
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        yield


def device(snakemake: Any) -> str:
    """The torch device of a job: "cuda" where its rule was given a GPU, else "cpu"."""
    import torch

    wanted = snakemake.config["device"]
    if not snakemake.resources.get("gpu", 0) or (
        wanted == "auto" and not torch.cuda.is_available()
    ):
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError("device: cuda is asked for, but torch sees no GPU; set `device: auto`")
    return "cuda"


def resume_folder(snakemake: Any) -> Path:
    """Where a job keeps the state from which it resumes after being killed.

    Outside `output:`, because Snakemake deletes the outputs of a failed job; named by the
    digest of everything the result depends on, so that a changed job starts afresh.
    """
    folder = CACHE / "resume" / job_key(snakemake)[:32]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear(folder: Path) -> None:
    """Remove the state of a job that is done."""
    shutil.rmtree(folder, ignore_errors=True)


def events_folder(snakemake: Any) -> Path | None:
    """Folder of a job's TensorBoard event files, beside its log; None where they are off."""
    return Path(snakemake.log[0]).with_suffix("") if snakemake.config["events"] else None
