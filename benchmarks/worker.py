"""One contender of one row, in a process of its own: `run.py` calls these functions there."""

import contextlib
import ctypes
import gc
import os
import sys
import time
from pathlib import Path

import numpy as np
from rows import OURS, ROWS, Job

JOB: Job


def set_up(row: str, contender: str, threads: int) -> None:
    """Make the job that the other functions are about.

    Raises:
        ImportError, OSError: the contender, or a library of its own, does not load.
    """
    global JOB
    sys.stdout = sys.stderr  # libraries print
    if contender != OURS:
        # The default of GNU's OpenMP, which `spikereach` changes for itself when imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    import spikereach  # first of all: it sets how OpenMP's threads wait  # noqa: F401

    # isort: split
    import torch

    torch.set_num_threads(threads)
    JOB = ROWS[row].set_up(contender)


def result(*windows: np.ndarray) -> dict[str, np.ndarray]:
    return JOB.result(*windows)


def warm() -> None:
    for _ in range(JOB.warm):
        JOB.run()


def measure() -> dict[str, float]:
    """Wall and processor time of one run, and the job's own figures."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    own = JOB.run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    times = {"seconds": wall / JOB.steps, "cpu_seconds": cpu / JOB.steps}
    return times | (own if JOB.figures else {})


def memory() -> int:
    """How far resident memory rises above where it was, in one run: bytes."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # only glibc has it
        # Give freed memory back, so that it is not there already when it is needed again.
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # forget the highest so far
    before = _resident("VmRSS")
    JOB.run()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    """Bytes of a line of /proc/self/status: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
