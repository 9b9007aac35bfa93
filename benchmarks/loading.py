"""Loading and binning a session file."""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rows import Job

from spikereach.config.sessions import Session, find
from spikereach.data import binning, synthetic

NAME, DURATION_S = "synthetic_loco_1", 2192.0
FILE = Path(tempfile.gettempdir()) / "spikereach-bench" / "loco_20170210_03.mat"


def session() -> Session:
    from common import CONFIG

    found = find(NAME, CONFIG.catalogue)
    if not FILE.exists():
        FILE.parent.mkdir(exist_ok=True)
        # Not in this process: what it leaves of the heap would enter the memory measured here.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            generate = partial(synthetic.generate, found, FILE, duration_s=DURATION_S, seed=0)
            other.submit(generate).result()
    return found


def ours() -> Job:
    load = partial(binning.bin_session, FILE, session())

    def arrays() -> dict[str, np.ndarray]:
        binned = load()
        test = np.array(binned.split("neurobench").test)
        return {"spikes": binned.spikes, "velocity": binned.velocity, "test": test}

    return Job(load, arrays, warm=0)


def neurobench() -> Job:
    from neurobench.datasets.primate_reaching import PrimateReaching

    session()
    load = partial(
        PrimateReaching,
        str(FILE.parent),
        FILE.name,
        num_steps=1,
        train_ratio=0.5,
        biological_delay=0,
        stride=0.004,
        bin_width=0.004,
        split_num=1,
        download=False,
    )

    def arrays() -> dict[str, np.ndarray]:
        dataset = load()
        steps = dataset.labels.shape[1]
        return {
            "spikes": dataset.samples.numpy()[:, :steps].T.astype(np.uint8),
            "velocity": dataset.labels.numpy().T,
            "test": np.array(dataset.ind_test),
        }

    return Job(load, arrays, warm=0)
