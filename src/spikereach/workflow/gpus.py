"""The GPUs of a machine, shared by the jobs on it.

Snakemake counts GPUs but does not say which one a job gets. Here each job holds the lock of
one place on one GPU as long as it lives; the system drops the lock of a job that is killed.
"""

import itertools
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from spikereach.programs import ask

log = logging.getLogger(__name__)

POLL_S = 0.5
LIMIT_S = 20.0
"""For the driver to list its GPUs; many of them, asleep, take seconds each."""
NO_ANSWER = (
    "this goes on without GPUs; if they work, name them in CUDA_VISIBLE_DEVICES (0,1,...), else "
    "set `device: cpu`, which does not ask"
)


def visible() -> list[str]:
    """Identifiers of the GPUs that this process may use, as in ``CUDA_VISIBLE_DEVICES``.

    Those of that variable where it is set. Otherwise all that ``nvidia-smi`` lists; none in a
    SLURM job, which has the variable when it was given a GPU.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        return [name for name in names if name not in ("", "-1", "NoDevFiles")]
    if "SLURM_JOB_ID" in os.environ or shutil.which("nvidia-smi") is None:
        return []
    listed = ask(["nvidia-smi", "-L"], limit_s=LIMIT_S, otherwise=NO_ANSWER)
    if listed is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # jobs of this process would wait as long again
        return []
    names = re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", listed)
    return [name for name in names if name.startswith("MIG-")] or names


@contextmanager
def lease(jobs_per_gpu: int) -> Iterator[str | None]:
    """Make one GPU the only visible one while the body runs; must precede the import of torch.

    First places on all GPUs are taken before second ones; where none is free, this waits. The
    process sees no other GPU afterwards.

    Args:
        jobs_per_gpu: places on each GPU; 0: for a job that shall see none.
    Yields:
        the GPU's identifier, or None where no GPU is visible.
    """
    if not jobs_per_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    gpus = visible()
    if not gpus:
        yield None
        return
    # On this machine: locks on a shared file system would keep other machines' jobs out.
    folder = Path(tempfile.gettempdir(), f"spikereach-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A scheduler numbers the GPUs of each of its jobs from 0.
    owner = os.environ.get("SLURM_JOB_ID", "machine")
    places = [
        (gpu, folder / f"{owner}-{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}-{place}.lock")
        for place in range(jobs_per_gpu)
        for gpu in gpus
    ]
    gpu, lock = _take(places)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        yield gpu
    finally:
        lock.release()


def _take(places: list[tuple[str, Path]]) -> tuple[str, FileLock]:
    """The first free place: its GPU and its lock."""
    for tried in itertools.count():
        for gpu, path in places:
            lock = FileLock(path, mode=0o600)
            with suppress(Timeout):
                lock.acquire(blocking=False)
                return gpu, lock
        if not tried:
            log.warning("all %d places on GPUs are taken: waiting for one", len(places))
        time.sleep(POLL_S)
