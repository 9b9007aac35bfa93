"""The exact metrics are NeuroBench's, to the integer."""

import numpy as np
import pytest
import torch
from neurobench.metrics.utils.layers import single_layer_MACs
from neurobench.metrics.workload import R2
from torch import nn

from spikereach.config import read
from spikereach.evaluation import metrics, neurobench
from spikereach.evaluation.errors import EvaluationError
from spikereach.models import zoo
from spikereach.models.decoder import Standardisation
from spikereach.ops.common.record import LayerCalls, active
from stand_ins import Centred, Gated, Recurrent, Straight, Windowed

CHANNELS = 12
STAND_INS = [Straight, Recurrent, Gated, Centred, Windowed]


def recording(steps=300, channels=CHANNELS, seed=0):
    """Spikes with a silent stretch, and smooth velocities."""
    rng = np.random.default_rng(seed)
    spikes = (rng.random((steps, channels)) < 0.1).astype(np.uint8)
    spikes[steps // 3 : steps // 3 + 20] = 0
    velocity = np.cumsum(rng.normal(size=(steps, 2)), axis=0).astype(np.float32) / 10
    return spikes, velocity


def decoder_of(kind, channels=CHANNELS, seed=0, pruned=0.4):
    """A stand-in with random weights, of which a share is zero, and active spiking units."""
    torch.manual_seed(seed)
    decoder = kind(channels=channels).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter *= 3
            parameter[torch.rand_like(parameter) < pruned] = 0
    decoder.standardisation = Standardisation((0.3, 0.2), (0.1, -0.1))
    return decoder


@pytest.mark.parametrize("kind", STAND_INS)
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_metrics_equal_neurobench(kind, seed):
    decoder = decoder_of(kind, seed=seed)
    spikes, velocity = recording(seed=seed)
    oracle = neurobench.verify(decoder, spikes, velocity)
    assert oracle["dense"] > 0
    assert oracle["effective_acs"] + oracle["effective_macs"] > 0


@pytest.mark.parametrize("kind", STAND_INS)
def test_counting_does_not_depend_on_the_pieces(kind, monkeypatch):
    decoder, (spikes, velocity) = decoder_of(kind), recording()
    whole, _ = metrics.measure(decoder, spikes, velocity)
    monkeypatch.setattr(metrics, "PIECE", 37)
    pieces, _ = metrics.measure(decoder, spikes, velocity)
    assert pieces.pop("r2") == pytest.approx(whole.pop("r2"), abs=1e-5)
    assert pieces == whole


@pytest.mark.parametrize("kind", STAND_INS)
def test_fast_and_stepwise_passes_agree(kind):
    decoder, (spikes, velocity) = decoder_of(kind), recording()
    fast, _ = metrics.measure(decoder, spikes, velocity)
    oracle = neurobench.run(decoder, spikes, velocity)
    assert fast.pop("r2") == pytest.approx(oracle.pop("r2"), abs=1e-5)
    assert fast == pytest.approx(oracle, rel=1e-12)


def random_inputs(kind, shape, generator):
    values = torch.randn(shape, generator=generator)
    present = torch.rand(shape, generator=generator) < 0.3
    if kind == "real":
        return values * present
    if kind == "signs":
        return values.sign() * present
    return torch.zeros(shape) if kind == "zero" else present.float()


LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "linear without bias": lambda: nn.Linear(7, 5, bias=False),
    "conv": lambda: nn.Conv1d(7, 6, 4),
    "padded conv": lambda: nn.Conv1d(7, 6, 5, padding=3),
    "strided, dilated conv": lambda: nn.Conv1d(7, 6, 3, padding=2, stride=2, dilation=2),
    "grouped conv": lambda: nn.Conv1d(7, 14, 3, groups=7, padding="same"),
    "strided, padded conv": lambda: nn.Conv1d(7, 6, 4, padding=6, stride=3),
    "image conv": lambda: nn.Conv2d(1, 3, (2, 4), padding=(0, 2), stride=2),
    "circular conv": lambda: nn.Conv1d(7, 6, 3, padding=1, padding_mode="circular"),
    "gru": lambda: nn.GRUCell(7, 5),
}


@pytest.mark.parametrize("layer_kind", LAYERS)
@pytest.mark.parametrize("inputs_kind", ["real", "signs", "spikes", "zero"])
@pytest.mark.parametrize("pruned", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("steps", [11, 60])
@pytest.mark.parametrize("by_step", [True, False])
def test_every_call_counts_as_in_neurobench(layer_kind, inputs_kind, pruned, steps, by_step):
    generator = torch.Generator().manual_seed(3)
    layer = LAYERS[layer_kind]()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter[torch.rand(parameter.shape, generator=generator) < pruned] = 0
    calls, batch = 9, 3
    if isinstance(layer, nn.GRUCell):
        inputs = (
            random_inputs(inputs_kind, (calls, batch, 7), generator),
            random_inputs("real", (calls, batch, 5), generator),
        )
    else:
        sample = {nn.Linear: (steps, 7), nn.Conv1d: (7, steps), nn.Conv2d: (1, 7, steps)}
        values = random_inputs(inputs_kind, (calls, batch, *sample[type(layer)]), generator)
        if by_step:  # channels side by side in memory, step after step
            values = values.transpose(-1, -2).contiguous().transpose(-1, -2)
        inputs = (values,)
    effective, binary, dense = metrics.count(LayerCalls(layer, inputs))
    single = [tuple(values[call] for values in inputs) for call in range(calls)]
    single = [call[0] if len(call) == 1 else call for call in single]
    expected = [single_layer_MACs(call, layer) for call in single]
    assert effective.tolist() == [operations for operations, _ in expected]
    assert binary.tolist() == [spiking for _, spiking in expected]
    assert dense == sum(single_layer_MACs(call, layer, total=True)[0] for call in single)


def test_a_convolution_without_batch_axis_counts_alike():
    layer = nn.Conv1d(3, 2, 2)
    inputs = (torch.rand(5, 3, 9) < 0.5).float()
    effective, _, _ = metrics.count(LayerCalls(layer, (inputs,)))
    assert effective.tolist() == [single_layer_MACs(x, layer)[0] for x in inputs]


def test_r2_is_bit_equal_to_neurobench():
    _, true = recording(steps=20_000)
    pred = true + np.random.default_rng(1).normal(size=true.shape).astype(np.float32)
    oracle = R2()
    oracle.reset()
    data = (torch.zeros(len(true), 1), torch.as_tensor(true))
    assert metrics.r2(pred, true) == oracle(None, torch.as_tensor(pred), data)


def test_counts_beyond_float32_are_exact():
    """NeuroBench sums in float32: 2^24 + 1 operations would round, pieces keep it exact."""
    decoder = decoder_of(lambda channels: Straight(channels=channels, hidden=1001), 96, pruned=0.1)
    spikes, velocity = recording(steps=2000, channels=96)
    spikes[:] |= 1
    spikes[::7, ::5] = 0
    piece = neurobench.piece_steps(decoder)
    assert piece < len(spikes)
    assert piece * 96 * 1001 <= 2**24
    oracle = neurobench.verify(decoder, spikes, velocity)
    nonzero = torch.count_nonzero(decoder.first.weight, dim=0)
    assert oracle["effective_acs"] * 2000 == int((torch.as_tensor(spikes) * nonzero).sum()) > 2**24


class Half(Straight):
    def forward(self, spikes, state=None):
        return super().forward(spikes.to(self.first.weight.dtype), state)


def test_half_precision_is_counted_beyond_its_own_range():
    """A sum of operations in float16 would end at 65504."""
    decoder = decoder_of(lambda channels: Half(channels=channels, hidden=6000)).half()
    assert torch.finfo(torch.float16).max < 12 * 6000
    with pytest.raises(EvaluationError, match="cannot convert float infinity"):
        neurobench.run(decoder, *recording())
    oracle = neurobench.verify(decoder, *recording())
    assert oracle["footprint"] == 2 * (13 * 6000 + 6001 * 2)
    assert oracle["dense"] == 12 * 6000 + 6000 * 2
    assert decoder.first.weight.dtype == torch.float16


def test_a_failing_metric_is_an_error():
    decoder = decoder_of(Gated)
    decoder.cell = nn.GRUCell(CHANNELS, 8, bias=False)  # NeuroBench cannot count it
    with pytest.raises(EvaluationError, match="Error running workload metric 'SynapticOperations'"):
        neurobench.run(decoder, *recording(), piece=300)  # its own choice would count, and fail


def test_a_wrong_record_is_an_error():
    class Forgetful(Straight):
        def forward(self, spikes, state=None):
            result = super().forward(spikes, state)
            if (record := active()) is not None:
                record.calls.pop()
            return result

    with pytest.raises(EvaluationError, match=r"dense: .* counted exactly, .* by NeuroBench"):
        neurobench.verify(decoder_of(Forgetful), *recording())


def test_hooks_are_gone_afterwards():
    decoder = decoder_of(Recurrent)
    neurobench.run(decoder, *recording())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in decoder.modules())


@pytest.mark.parametrize("system", ["SNN2", "tinyRSNN", "ANN2"])
def test_sums_of_long_recordings_stay_exact(system, repository):
    """More operations than float32 counts, of odd channels: the calls must stay short."""
    decoder = zoo.build(read(repository / "config.yaml").systems[system], 87).eval()
    rng = np.random.default_rng(0)
    spikes = (rng.random((5000, 87)) < 0.2).astype(np.uint8)
    velocity = rng.normal(size=(5000, 2)).astype(np.float32)
    found = neurobench.verify(decoder, spikes, velocity)
    assert found["dense"] * 5000 > 2**24
