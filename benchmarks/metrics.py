"""Exact metrics over a recording, against NeuroBench's own benchmark."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from common import CHANNELS, CONFIG, RATE, decoder_of
from rows import Job

from spikereach.evaluation import metrics
from spikereach.evaluation import neurobench as oracle
from spikereach.models.decoder import Decoder

STEPS = 102_400
"""Of a test part: the mean of the evaluation sessions', whose test parts have 52,000 to 137,000,
in whole windows of 1,024."""
KEYS = ("r2", "footprint", "connection_sparsity", "activation_sparsity")
OPERATIONS = ("dense", "effective_macs", "effective_acs")


def trained(system: str) -> Decoder:
    """Random weights, a third of them zero, so that units fire and sparsity counts; batch norms
    are folded, as `evaluation.evaluate` does first."""
    decoder = decoder_of(system).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim > 1:
                parameter *= 2
                parameter[torch.rand_like(parameter) < 0.3] = 0
    decoder.fold()
    return decoder


def recording(steps: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    spikes = (random.random((STEPS, CHANNELS)) < RATE).astype(np.uint8)
    velocity = random.standard_normal((STEPS, 2)).astype(np.float32)
    return spikes[:steps], velocity[:steps]


def results(found: dict[str, float], steps: int) -> dict[str, np.ndarray]:
    """Operations as whole numbers."""
    counts = {key: np.array(round(found[key] * steps)) for key in OPERATIONS}
    return {key: np.array(found[key]) for key in KEYS} | counts


def per_step(job, steps: int):
    """The job, with its time divided by the steps."""

    def run() -> dict[str, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        job()
        return {
            "seconds": (time.perf_counter() - wall) / steps,
            "cpu_seconds": (time.process_time() - cpu) / steps,
        }

    return run


def ours(system: str, steps: int, *, threads: int) -> Job:
    torch.set_num_threads(threads)
    decoder = trained(system)
    whole, part = recording(STEPS), recording(steps)
    piece = oracle.piece_steps(decoder)
    return Job(
        per_step(lambda: metrics.exact(decoder, *whole), STEPS),
        lambda: results(metrics.exact(decoder, *part, like_neurobench=piece), steps),
    )


def neurobench(system: str, steps: int, *, threads: int) -> Job:
    """One call per step, or per window; hybrid decoders run over the recording, as their authors
    ran them, and only their recurrent layers are called at every keypoint."""
    torch.set_num_threads(threads)
    decoder = trained(system)
    part = recording(steps)
    hybrid = CONFIG.systems[system].architecture == "hybrid"
    timed = partial(oracle.run, decoder, *part, piece=None if hybrid else decoder.whole_windows)
    return Job(per_step(timed, steps), lambda: results(oracle.run(decoder, *part), steps), warm=0)


def bin_by_bin(system: str, steps: int, *, threads: int) -> Job:
    """The decoder as it runs on a stream: one call per step, whatever its layers do."""
    torch.set_num_threads(threads)
    timed = partial(oracle.run, trained(system), *recording(steps), piece=1)
    return Job(per_step(timed, steps), warm=0)
