"""Costs of the hybrid decoder: NeuroBench's own count against closed forms."""

import pytest
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import TorchModel
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from spikereach.models.hybrid import Hybrid
from spikereach.ops.common.backends import only
from spikereach.ops.common.record import recording
from spikereach.ops.common.spikes import Spikes

RTNET = {
    "blocks": 2,
    "kernel": 9,
    "conv_channels": 40,
    "lif_layers": 2,
    "lif_units": 56,
    "dropout": 0.3,
}
STEPS = 120


class Stream(nn.Module):
    """Time on NeuroBench's batch axis, so that costs are per step."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, spikes):
        with only("reference"):
            return self.decoder.decode(spikes)[:, 0]


@pytest.fixture(params=[(96, 75_202), (192, 109_762)], ids=["Indy", "Loco"])
def measured(request):
    channels, parameters = request.param
    torch.manual_seed(0)
    decoder = Hybrid(channels=channels, **RTNET)
    with torch.no_grad():
        for layer in decoder.nets[0]:
            layer.input.weight.mul_(10)  # so that neurons spike
    decoder.fold()
    decoder.eval()
    spikes = (torch.rand(STEPS, 1, channels) < 0.08).float()
    model = TorchModel(Stream(decoder))
    model.add_activation_module(Spikes)
    data = TensorDataset(spikes, torch.zeros(STEPS, 2))
    metrics = [[Footprint, ParameterCount], [ActivationSparsity, SynapticOperations]]
    benchmark = Benchmark(model, DataLoader(data, batch_size=STEPS), [], [], metrics)
    with torch.no_grad():
        results = benchmark.run(quiet=True)
        with only("reference"), recording(decoder) as record:
            decoder.decode(spikes)
    return channels, parameters, spikes, record, results


def test_footprint(measured):
    _, parameters, _, _, results = measured
    assert results["ParameterCount"] == parameters
    assert results["Footprint"] == 4 * parameters


def test_operations(measured):
    channels, _, spikes, record, results = measured
    # Outputs of the layers over the recording and the look-ahead after it.
    conv1 = STEPS + 26 + 4 - 8
    conv2 = conv1 // 2 + 9 - 17
    keypoints = conv2 // 2
    dense = {
        "conv1": conv1 * channels * 9 * 40,
        "conv2": conv2 * 40 * 18 * 40,
        "lif1": keypoints * (40 * 56 + 56 * 56),
        "lif2": keypoints * 2 * 56 * 56,
        "readout": keypoints * 56 * 2,
    }
    operations = results["SynapticOperations"]
    assert operations["Dense"] * STEPS == pytest.approx(sum(dense.values()), rel=1e-6)

    # Every input to the convolutions' middle meets all nine taps of 40 channels; at the start,
    # the padding is four steps, so that the first inputs meet fewer.
    taps = torch.minimum(torch.arange(5, 5 + STEPS), torch.tensor(9))
    inputs = (spikes[:, 0].sum(1) * taps).sum() * 40
    first, second = record.spikes["net1.lif1"], record.spikes["net1.lif2"]
    hidden = first[:-1].sum() * 56 + first.sum() * 56 + second[:-1].sum() * 56 + second.sum() * 2
    assert first.mean() > 0.01
    assert second.mean() > 0.01
    assert operations["Effective_ACs"] * STEPS == pytest.approx((inputs + hidden).item(), rel=1e-6)
    # All convolution outputs are non-zero numbers: multiplications.
    macs = dense["conv2"] + keypoints * 40 * 56 - padding_of_conv2()
    assert operations["Effective_MACs"] * STEPS == pytest.approx(macs, rel=1e-6)


def padding_of_conv2():
    """Operations that the second convolution's nine zeros on the left save."""
    return sum(range(1, 10)) * 40 * 40


def test_activation_sparsity(measured):
    *_, record, results = measured
    spikes = torch.cat(list(record.spikes.values()))
    assert results["ActivationSparsity"] == pytest.approx(1 - spikes.mean().item(), abs=1e-6)


def test_parameters_of_bmnet_by_the_same_rule():
    """Convolutions with bias, neurons without, read-out with bias."""
    for channels in (96, 192):
        decoder = Hybrid(channels=channels, **RTNET | {"blocks": 3, "kernel": 31})
        decoder.fold()
        convolutions = 31 * channels * 40 + (62 + 124) * 40 * 40 + 3 * 40
        neurons = 40 * 56 + 3 * 56 * 56
        expected = convolutions + neurons + 2 * 56 + 2
        assert sum(parameter.numel() for parameter in decoder.parameters()) == expected
