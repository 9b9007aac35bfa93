"""One contender of one row, driven by `run.py` through lines of JSON."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from rows import OURS, ROWS, Job


def resident(field: str) -> int:
    """Bytes of a line of /proc/self/status: VmRSS now, VmHWM at most since :func:`reset`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def reset() -> None:
    """Forget the highest resident memory so far."""
    Path("/proc/self/clear_refs").write_text("5")


def trim() -> None:
    """Give freed memory back, so that it is not there already when it is needed again."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def measure(job: Job) -> dict[str, float]:
    """Wall and processor time of one run, and the job's own figures."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    own = job.run() or {}
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    } | own


def memory(job: Job) -> dict[str, float]:
    """How far resident memory rises above where it was, in one run."""
    trim()
    reset()
    before = resident("VmRSS")
    job.run()
    return {"bytes": resident("VmHWM") - before}


def main() -> None:
    row, contender, threads = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print

    def answer(**content) -> None:
        print(json.dumps(content), file=answers, flush=True)

    if contender != OURS:
        # The default of GNU's OpenMP, which `spikereach` changes for itself when imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    try:
        job = ROWS[row].contenders[contender](int(threads))
    except (ImportError, OSError) as error:  # OSError: a library of its own does not load
        answer(absent=f"{type(error).__name__}: {error}")
        return
    answer(ready=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        if command == "result":
            np.savez(arguments[0], **job.result())
            answer(saved=True)
        elif command == "warm":
            for _ in range(job.warm):
                job.run()
            answer(warm=True)
        elif command == "memory":
            answer(**memory(job))
        else:
            answer(**measure(job))


if __name__ == "__main__":
    main()
