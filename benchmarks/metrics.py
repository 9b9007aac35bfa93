"""Exact metrics over a recording, against NeuroBench's own benchmark."""

from functools import partial

import numpy as np
import torch
from common import CONFIG, decoder_of, recording
from rows import Job

from spikereach.evaluation import metrics
from spikereach.evaluation import neurobench as oracle
from spikereach.models.decoder import Decoder

STEPS = 102_400
"""Of a test part: the mean of the evaluation sessions', whose test parts have 52,000 to 137,000,
in whole windows of 1,024."""
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


def results(found: dict[str, float], steps: int) -> dict[str, np.ndarray]:
    """Operations as whole numbers."""
    return {
        key: np.array(round(value * steps) if key in OPERATIONS else value)
        for key, value in found.items()
    }


def ours(system: str, steps: int) -> Job:
    decoder, whole = trained(system), recording(2, STEPS)
    part, piece = [each[:steps] for each in whole], oracle.piece_steps(decoder)
    return Job(
        partial(metrics.measure, decoder, *whole),
        lambda: results(metrics.measure(decoder, *part, like_neurobench=piece)[0], steps),
        steps=STEPS,
    )


def neurobench(system: str, steps: int) -> Job:
    """One call per step, or per window; hybrid decoders run over the recording, as their authors
    ran them, and only their recurrent layers are called at every keypoint."""
    decoder, part = trained(system), [each[:steps] for each in recording(2, STEPS)]
    hybrid = CONFIG.systems[system].architecture == "hybrid"
    piece = None if hybrid else decoder.timing.whole_windows
    timed = partial(oracle.run, decoder, *part, piece=piece)
    return Job(timed, lambda: results(oracle.run(decoder, *part), steps), warm=0, steps=steps)


def bin_by_bin(system: str, steps: int) -> Job:
    """The decoder as it runs on a stream: one call per step, whatever its layers do."""
    steps = min(steps, 1000)
    part = [each[:steps] for each in recording(2, STEPS)]
    return Job(partial(oracle.run, trained(system), *part, piece=1), warm=0, steps=steps)
