"""Costs of the windowed decoders: NeuroBench's own count against the published figures."""

import pytest
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import Footprint
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import TorchModel
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from spikereach.models.vasilache import GRU, LIF, SGRU
from spikereach.ops.common.backends import only
from spikereach.ops.common.spikes import Spikes

T1 = {
    "window": 1024,
    "conv_channels": 32,
    "kernels": [3, 6, 12],
    "paddings": [5, 3, 6],
    "hidden": 64,
    "dropout": 0.2,
}
T2 = {
    "window": 1024,
    "conv_channels": 10,
    "kernels": [3, 3],
    "paddings": [3, 1],
    "hidden": 20,
    "dropout": 0.2,
}
STEPS = 2048


class Stream(nn.Module):
    """Time on NeuroBench's batch axis, so that costs are per step."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, spikes):
        with only("reference"):
            return self.decoder.decode(spikes)[:, 0]


def measure(decoder, spikes):
    model = TorchModel(Stream(decoder))
    model.add_activation_module(Spikes)
    data = TensorDataset(spikes, torch.zeros(len(spikes), 2))
    loader = DataLoader(data, batch_size=len(spikes))
    metrics = [[Footprint], [ActivationSparsity, SynapticOperations]]
    with torch.no_grad():
        results = Benchmark(model, loader, [], [], metrics).run(quiet=True)
    return results


def recording(channels):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(STEPS, 1, channels, generator=generator) < 0.08).float()


@pytest.mark.parametrize(
    ("channels", "footprint", "dense"),
    [(96, 20_808, 3507.24609375), (192, 32_328, 6387.24609375)],
)
def test_gru_t2_is_exact(channels, footprint, dense):
    torch.manual_seed(0)
    spikes = recording(channels)
    results = measure(GRU(channels=channels, **T2), spikes)
    operations = results["SynapticOperations"]
    assert results["Footprint"] == footprint
    assert operations["Dense"] == dense
    assert operations["Effective_MACs"] == 627.24609375
    # Every input spike meets three taps of ten channels.
    assert operations["Effective_ACs"] == spikes.sum().item() * 30 / STEPS
    assert results["ActivationSparsity"] == 0


def mean_dense(family, sizes):
    torch.manual_seed(0)
    counts = []
    for channels in (96, 192):
        results = measure(family(channels=channels, **sizes), recording(channels)[:1024])
        counts.append(results["SynapticOperations"]["Dense"])
    return sum(counts) / 2


@pytest.mark.parametrize(
    ("family", "sizes", "published"),
    [
        (GRU, T1, 22_342),
        (GRU, T2, 4_947),
        (SGRU, T2, 4_932),
        (LIF, T1, 20_766),
        (LIF, T2, 4_631),
        (SGRU, T1, 22_318),
    ],
    ids=["GRU-t1", "GRU-t2", "sGRU-t2", "LIF-t1", "LIF-t2", "sGRU-t1"],
)
def test_dense_operations(family, sizes, published):
    assert round(mean_dense(family, sizes)) == published


def mean_footprint(family, scalars=None, **sizes):
    """Deployment footprint in bytes by the paper's rule, mean over 96 and 192 channels.

    Parameters and states in float32, one byte per bin of the window. ``scalars`` replaces the
    states where the paper counts something else.
    """
    total = 0
    for channels in (96, 192):
        decoder = family(channels=channels, **sizes)
        parameters = sum(parameter.numel() for parameter in decoder.parameters())
        kept = {"input": 0, "state": 0}
        for size in decoder.buffer_sizes():
            kept[size.kind] += size.values * size.input_bits
        states = kept["state"] if scalars is None else scalars
        total += 4 * parameters + kept["input"] // 8 + 4 * states
    return total // 2


def test_published_footprints():
    assert mean_footprint(GRU, **T2) == 174_104
    assert mean_footprint(GRU, **T1, layer_norm=False) == 352_904
    # The LIF nets' figures hold three scalars instead of the membranes ...
    assert mean_footprint(LIF, scalars=3, **T2) == 168_596
    # ... and the larger one another 130 values, as many as its read-outs have.
    readouts = 2 * (64 + 1)
    assert mean_footprint(LIF, scalars=3 + readouts, **T1) == 302_492


def test_latency_is_the_window():
    for family in (GRU, SGRU, LIF):
        decoder = family(channels=96, **T2)
        assert decoder.timing.latency_steps * 4 == 4096
        assert 250 / decoder.timing.update_period == pytest.approx(0.244, abs=5e-4)
