"""Costs by NeuroBench's own count, streaming, and snnTorch's neurons as the oracle."""

from contextlib import nullcontext

import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import Footprint
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import TorchModel
from torch.utils.data import DataLoader, TensorDataset

from spikereach.models.ann import ANN2, ANN3
from spikereach.models.counts import Counts
from spikereach.models.rsnn import RSNN
from spikereach.models.snn2 import SNN2
from spikereach.models.snn3 import SNN3
from spikereach.ops.common import record
from spikereach.ops.common.backends import only
from spikereach.ops.common.spikes import Spikes

BIG_READOUTS = ((50, 10), (20, 5), (20, 20), (30, 10), (100, 30))

SYSTEMS = {
    "ANN2": ANN2,
    "ANN3": ANN3,
    "SNN2": SNN2,
    "SNN3": SNN3,
    "tinyRSNN": RSNN,
    "bigRSNN": lambda channels: RSNN(channels=channels, hidden=1024, readouts=BIG_READOUTS),
}


def make(name, channels):
    torch.manual_seed(0)
    decoder = SYSTEMS[name](channels=channels).eval()
    return decoder.half() if name == "tinyRSNN" else decoder


def recording(steps, channels, rate=0.05, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, channels, generator=generator) < rate).float()


class Oracle(TorchModel):
    """What NeuroBench needs to know: the decoder, once per step, and where its activations are."""

    def __init__(self, decoder):
        super().__init__(decoder)
        self.add_activation_module(Spikes)

    def __call__(self, batch):
        state, velocities = None, []
        with torch.no_grad(), only("reference"):
            for step in batch.split(1):
                velocity, state = self.net(step, state)
                velocities.append(velocity[:, 0])
        return torch.cat(velocities)


def neurobench(decoder, spikes):
    data = TensorDataset(spikes, torch.zeros(len(spikes), 2))
    benchmark = Benchmark(
        Oracle(decoder),
        DataLoader(data, batch_size=len(spikes), shuffle=False),
        [],
        [],
        [[Footprint], [ActivationSparsity, SynapticOperations]],
    )
    return benchmark.run(quiet=True)


#: Published by NeuroBench's examples and Liu et al.: footprint in bytes, dense operations.
PUBLISHED = {
    ("ANN2", 96): (20_824, 4_704),
    ("ANN2", 192): (33_496, 7_776),
    ("ANN3", 96): (94_552, 23_136),
    ("ANN3", 192): (180_952, 44_640),
    ("SNN2", 96): (19_648, 4_900),
    ("SNN2", 192): (38_848, 9_700),
    ("SNN3", 96): (24_972, 32_928),
    ("SNN3", 192): (43_020, 54_432),
    ("tinyRSNN", 96): (21_000, 10_368),
    ("tinyRSNN", 192): (33_288, 16_512),
    ("bigRSNN", 96): (4_636_752, 1_157_120),
    ("bigRSNN", 192): (5_029_968, 1_255_424),
}


@pytest.mark.parametrize(("name", "channels"), PUBLISHED)
def test_footprint_and_dense_operations_are_the_published_ones(name, channels):
    steps = 10 if name == "bigRSNN" else 60 if name == "SNN3" else 120
    result = neurobench(make(name, channels), recording(steps, channels))
    footprint, dense = PUBLISHED[name, channels]
    if name == "ANN2":  # no layer runs before its window of 50 steps is full
        dense *= 1 - 49 / steps
    assert result["Footprint"] == footprint
    assert result["SynapticOperations"]["Dense"] == pytest.approx(dense, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "bigRSNN"])
def test_record_holds_what_neurobench_sees(name):
    """Counting what the vectorised pass's layers received gives NeuroBench's counts exactly."""
    spikes = recording(70, 12)
    decoder = make(name, 12)
    for parameter in decoder.parameters():  # lower thresholds of the neurons: more spikes
        parameter.data *= 3
    result = neurobench(decoder, spikes)
    with torch.no_grad(), record.recording(decoder) as found:
        decoder(spikes)
    operations = {"Effective_MACs": 0, "Effective_ACs": 0, "Dense": 0}
    for call in found.calls:
        (inputs,) = call.inputs
        columns = (call.layer.weight != 0).sum(0)
        for x in inputs.flatten(0, -2):
            spiking = ((x == 0) | (x == 1) | (x == -1)).all()
            operations["Effective_ACs" if spiking else "Effective_MACs"] += int(
                ((x != 0) * columns).sum()
            )
            operations["Dense"] += call.layer.weight.numel()
    assert result["SynapticOperations"] == {k: n / len(spikes) for k, n in operations.items()}
    zeros = sum(int((a == 0).sum()) for a in found.activations)
    count = sum(a.numel() for a in found.activations)
    assert result["ActivationSparsity"] == pytest.approx(zeros / count, rel=1e-12)
    assert 0 < result["ActivationSparsity"] < 1


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "bigRSNN"])
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 129), max_size=6), reference=st.booleans())
def test_streaming_in_any_chunks_equals_one_pass(name, cuts, reference):
    decoder = make(name, 12).float()
    spikes = recording(130, 12, rate=0.2, batch=2)
    with torch.no_grad():
        whole, _ = decoder(spikes)
        state, parts = None, []
        with only("reference") if reference else nullcontext():
            for chunk in spikes.tensor_split(sorted(set(cuts))):
                velocity, state = decoder(chunk, state)
                parts.append(velocity)
    assert whole.abs().max() > 0
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(steps=st.integers(1, 90), seed=st.integers(0, 2**31), start=st.integers(0, 60))
def test_counts_equal_the_originals_growing_buffer(steps, seed, start):
    """NeuroBench's examples append each step to a buffer that begins as one row of zeros."""
    window, bins, width = 23, 3, 7
    spikes = recording(steps + start, 4, rate=0.4, batch=2, seed=seed)
    counts = Counts(window=window, bins=bins, width=width)
    state = counts.init_state(2, 4, spikes)
    if start:
        _, state = counts(spikes[:start], state)
    ours, _ = counts(spikes[start:], state)
    buffer, expected = torch.zeros(1, 2, 4), []
    for step in spikes:
        buffer = torch.cat([buffer, step[None]])[-window:]
        expected.append(
            torch.stack([buffer[i * width : (i + 1) * width].sum(0) for i in range(bins)])
        )
    assert torch.equal(ours, torch.stack(expected)[start:])


def test_snn2_equals_snntorch_on_random_weights():
    """snnTorch 1.0.0, whose reset to zero keeps the step's input."""
    torch.manual_seed(1)
    decoder = SNN2(channels=30, reset="zero").eval()
    decoder.fc1.weight.data *= 4
    spikes = recording(300, 30, rate=0.1, batch=3)
    hidden = snntorch.Leaky(beta=0.96, threshold=1, reset_mechanism="zero")
    output = snntorch.Leaky(beta=0.96, threshold=1, reset_mechanism="none")
    mem, out = hidden.init_leaky(), output.init_leaky()
    expected, count = [], 0
    with torch.no_grad():
        for x in spikes:
            z, mem = hidden(x @ decoder.fc1.weight.T, mem)
            _, out = output(z @ decoder.fc_out.weight.T, out)
            count += z.sum()
            expected.append(out)
        velocity, _ = decoder(spikes)
        old, _ = decoder_with(decoder, reset="zero_and_input")(spikes)
    assert count > 100
    torch.testing.assert_close(velocity, torch.stack(expected), rtol=0, atol=1e-5)
    assert (old - velocity).abs().max() > 1e-3  # the rule matters


def decoder_with(decoder, **sizes):
    other = SNN2(channels=decoder.channels, **sizes).eval()
    other.load_state_dict(decoder.state_dict())
    return other


@pytest.mark.parametrize("name", SYSTEMS)
def test_declared_timing(name):
    decoder = make(name, 12)
    windowed = name in {"ANN2", "ANN3", "SNN3"}
    assert decoder.timing.lookahead == 0
    assert decoder.timing.update_period == 1
    assert decoder.timing.latency_steps == (50 if windowed else 1)
    assert decoder.timing.receptive_field == (50 if windowed else None)
    assert all(size.values > 0 for size in decoder.buffer_sizes())


@pytest.mark.parametrize("name", ["ANN2", "ANN3", "SNN3"])
def test_receptive_field_is_the_declared_one(name):
    decoder = make(name, 6)
    spikes = recording(200, 6, rate=0.3)
    changed = spikes.clone()
    changed[99] = 1 - changed[99]
    with torch.no_grad():
        difference = (decoder(spikes)[0] - decoder(changed)[0]).abs().sum((1, 2))
    touched = difference.nonzero().flatten()
    # The newest step is in no bin of ANN3 and SNN3.
    assert touched.min() == (99 if name == "ANN2" else 100)
    assert touched.max() == 99 + 49


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "bigRSNN"])
def test_all_parameters_learn(name):
    decoder = make(name, 24).float().train()
    spikes = recording(80, 24, rate=0.3, batch=4)
    velocity, _ = decoder(spikes)
    (velocity - torch.randn_like(velocity)).square().mean().backward()
    silent = {n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()}
    # An integrator that never resets has no use for its threshold.
    assert silent == ({"lif3.threshold"} if name == "SNN3" else set())
