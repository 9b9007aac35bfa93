"""Every configured system tells, by its record, exactly what NeuroBench sees of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spikereach import config
from spikereach.evaluation import metrics, neurobench
from spikereach.models import zoo

#: Those with published weights are built like their trained namesakes.
CONFIG = config.read(Path(__file__).resolve().parents[2] / "config.yaml")
NAMES = [name for name, system in CONFIG.systems.items() if system.weights is None]


def random_decoder(name, channels):
    """A pruned decoder with random weights, wide enough for spiking units to fire."""
    torch.manual_seed(1)
    system = CONFIG.systems[name]
    areas = system.areas or ("M1",)
    areas = [area for area in areas for _ in range(channels // len(areas))]
    decoder = zoo.build(system, channels, areas=areas).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim > 1:
                parameter *= 2
                parameter[torch.rand_like(parameter) < 0.3] = 0
    return decoder


def recording(decoder):
    rng = np.random.default_rng(1)
    settled = min(decoder.timing.receptive_field or 10, 90)
    steps = max(decoder.timing.whole_windows, settled) + 30
    spikes = (rng.random((steps, decoder.channels)) < 0.06).astype(np.uint8)
    return spikes, np.cumsum(rng.normal(size=(steps, 2)), axis=0).astype(np.float32)


@pytest.mark.parametrize("channels", [96, 192])
@pytest.mark.parametrize("name", NAMES)
def test_exact_metrics_equal_neurobench(name, channels):
    decoder = random_decoder(name, channels)
    spikes, velocity = recording(decoder)
    oracle = neurobench.verify(decoder, spikes, velocity)
    fast, _ = metrics.measure(decoder, spikes, velocity)
    assert fast.pop("r2") == pytest.approx(oracle.pop("r2"), abs=1e-4)
    # The fast path may flip a spike where a membrane is within rounding of its threshold.
    assert fast == pytest.approx(oracle, rel=1e-3)
    assert fast["dense"] == oracle["dense"]


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_verified(name):
    decoder = random_decoder(name, 96).half()
    decoder.weight_format = decoder.buffer_format = "float16"
    neurobench.verify(decoder, *recording(decoder))
