"""ONNX graphs in onnxruntime, against the decoders' streams and plain NumPy."""

import json
import sys

import numpy as np
import pytest
import torch
from decoder_checks import Handmade, random_spikes
from torch.nn import functional

from spikereach.export import onnx as export
from spikereach.export.errors import ExportError
from spikereach.models import stages
from spikereach.models.ann import ANN2
from spikereach.models.decoder import Decoder, Standardisation
from spikereach.models.hybrid import Hybrid
from spikereach.models.rsnn import RSNN
from spikereach.models.snn2 import SNN2
from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.common.record import recording
from spikereach.ops.lif.step import RESETS

onnxruntime = pytest.importorskip("onnxruntime")

WEIGHTS, BUFFERS = (1, 7), (1, 4)
SIZES = {"kernel": 3, "conv_channels": 4, "lif_layers": 2, "lif_units": 9, "dropout": 0.3}
HYBRIDS = {
    "one block": {"channels": 5, "blocks": 1},
    "two blocks": {"channels": 5, "blocks": 2},
    "three blocks": {"channels": 3, "blocks": 3},
    "kernel 1": {"channels": 3, "blocks": 2, "kernel": 1},
    "pre-LIF": {"channels": 5, "blocks": 2, "merge": "pre-LIF", "area_channels": [2, 3]},
    "post-LIF": {"channels": 5, "blocks": 2, "merge": "post-LIF", "area_channels": [2, 3]},
}


def in_format(decoder: Decoder, number_format: str) -> Decoder:
    """A decoder that spikes, as if compressed."""
    decoder.eval().fold()
    if number_format == "fixed point":
        with torch.no_grad():
            for parameter in decoder.parameters():
                parameter.copy_(quantise(parameter, *WEIGHTS))
        decoder.weight_format, decoder.buffer_format = WEIGHTS, BUFFERS
    elif number_format == "float16":
        decoder.half()
        decoder.weight_format = decoder.buffer_format = "float16"
    decoder.standardisation = Standardisation((0.5, 2.0), (0.25, -1.0))
    return decoder


def hybrid(name: str, number_format: str) -> Hybrid:
    torch.manual_seed(2)
    decoder = Hybrid(**SIZES | HYBRIDS[name])
    with torch.no_grad():
        for conv in decoder.convs:
            for block in conv:
                block.conv.weight.mul_(2)
        for net in decoder.nets:
            for layer in net:  # neurons that inhibit themselves, so that all layers spike
                layer.input.weight.normal_(0, 3)
                layer.recurrent.weight.normal_(0, 0.5).sub_(4 * torch.eye(layer.units))
    return in_format(decoder, number_format)


def rsnn(number_format: str = "float32") -> RSNN:
    torch.manual_seed(3)
    return in_format(
        RSNN(channels=6, hidden=8, readouts=[(50, 10), (20, 5), (9, 3)]), number_format
    )


def snn2(reset: str) -> SNN2:
    torch.manual_seed(4)
    decoder = SNN2(channels=6, hidden=8, reset=reset)
    with torch.no_grad():
        decoder.fc1.weight.uniform_(-0.5, 1)
    return in_format(decoder, "float32")


def steps(model):
    """A function from spikes (T, C) to all outputs of each step, and states after it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [each.name for each in session.get_outputs()]

    def run(spikes):
        states = export.initial_states(model)
        for row in spikes:
            outputs = dict(zip(names, session.run(names, {"spikes": row, **states}), strict=True))
            yield outputs
            states = {n.removesuffix(".next"): v for n, v in outputs.items() if "next" in n}

    return run


def streamed(decoder: Decoder, spikes: np.ndarray) -> np.ndarray:
    stream = decoder.standardised_streamer()
    return np.array([stream(row).copy() for row in spikes.astype(np.uint8)])


def drawn(decoder: Decoder, count: int, rate: float = 0.2) -> np.ndarray:
    return random_spikes(count, 1, decoder.channels, rate=rate)[:, 0].numpy()


@pytest.mark.parametrize("number_format", ["float32", "float16", "fixed point"])
@pytest.mark.parametrize("name", HYBRIDS)
def test_hybrids_equal_their_streams(name, number_format):
    decoder = hybrid(name, number_format)
    spikes = drawn(decoder, 150)
    outputs = list(steps(export.graph(decoder, {}))(spikes))
    for layer in ("net1.lif1", "net1.lif2"):
        fired = np.array([each[f"{layer}.v.next"] > 1 for each in outputs])
        assert (fired.any(0) & ~fired.all(0)).sum() > 1, "too few neurons change"
    found, expected = np.array([each["velocity"] for each in outputs]), streamed(decoder, spikes)
    if number_format == "fixed point":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("number_format", ["float32", "float16"])
def test_rsnn_equals_its_stream(number_format):
    decoder = rsnn(number_format)
    spikes = drawn(decoder, 300)
    with torch.no_grad(), recording(decoder) as record:
        decoder(torch.from_numpy(spikes)[:, None])
    (fired,) = record.activations
    outputs = list(steps(export.graph(decoder, {}))(spikes))
    found = np.array([each["velocity"] for each in outputs])
    np.testing.assert_allclose(found, streamed(decoder, spikes), atol=1e-6)
    membranes = np.array([each["hidden.v.next"] for each in outputs])
    np.testing.assert_array_equal(membranes[:-1] > 1, fired[1:, 0] > 0)
    assert 0.01 < fired.float().mean() < 0.9


@pytest.mark.parametrize("reset", RESETS)
def test_snn2_equals_its_stream_under_each_reset(reset):
    decoder = snn2(reset)
    spikes = drawn(decoder, 300)
    outputs = list(steps(export.graph(decoder, {}))(spikes))
    found = np.array([each["velocity"] for each in outputs])
    np.testing.assert_allclose(found, streamed(decoder, spikes), rtol=1e-5, atol=1e-5)


def test_current_neurons_in_fixed_point_equal_integers():
    """Against NumPy's integers: decays and weights with 7 fractional bits, membranes with 5."""
    generator = np.random.default_rng(0)
    inputs, units, outputs = 6, 8, 4

    def on_grid(*shape, low=-128, high=128):
        return torch.from_numpy(generator.integers(low, high, shape) / 128).float()

    w, r, readout = on_grid(units, inputs), on_grid(units, units), on_grid(outputs, units)
    mem, syn = on_grid(units, low=90, high=120), on_grid(units, low=60, high=110)
    out_mem, out_syn = on_grid(outputs, low=100, high=127), on_grid(outputs, low=60, high=110)
    decoder = Handmade(
        inputs,
        stages.CurrentLIF(
            "hidden", stages.Linear("in", 4 * w), stages.Linear("rec", r), mem, syn, (3, 5)
        ),
        stages.Linear("readout", readout),
        stages.CurrentIntegrator("readouts", out_mem, out_syn, -0.01, (3, 5)),
        stages.Mean(2),
    )
    spikes = drawn(decoder, 200)
    found = np.array([o["velocity"] for o in steps(export.graph(decoder, {}))(spikes)])

    def integers(tensor):
        return (tensor.numpy() * 128).astype(np.int64)

    def rounded(value):
        """From 12 fractional bits to 5, ties to even, saturated."""
        down = value >> 7
        rest = value & 127
        up = (rest > 64) | ((rest == 64) & (down & 1 == 1))
        return np.clip(down + up, -(2**8), 2**8 - 1)

    def filtered(mem, syn, v, i, arriving):
        mem, syn = integers(mem), integers(syn)
        return mem * v + (128 - mem) * i, rounded(syn * i + 32 * arriving)

    v, i, a = np.zeros((3, units), np.int64)
    out_v, out_i, out_a = np.zeros((3, outputs), np.int64)
    expected = []
    for row in spikes.astype(np.int64):
        z = (v > 32).astype(np.int64)
        v, i = filtered(mem, syn, v, i, a)
        v = rounded(v * (1 - z))
        a = 4 * integers(w) @ row + integers(r) @ z
        out_v, out_i = filtered(out_mem, out_syn, out_v, out_i, out_a)
        out_v, out_a = rounded(out_v), integers(readout) @ z
        expected.append(out_v.reshape(2, 2).sum(0) / 2**5 / 2)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > 20


@pytest.mark.parametrize("merge", ["none", "pre-LIF", "post-LIF"])
def test_convolutional_half(merge):
    decoder = hybrid("two blocks" if merge == "none" else merge, "fixed point")
    spikes = drawn(decoder, 90)
    outputs = list(steps(export.convolutions(decoder, {}))(spikes))
    frames = np.array([each["frames"] for each in outputs if each["complete"]])

    expected, first = [], 0
    for conv, channels in zip(decoder.convs, decoder.area_channels, strict=True):
        x = torch.from_numpy(spikes[:, first : first + channels]).T[None]
        first += channels
        for block in conv:
            (kernel,) = block.conv.kernel_size
            x = functional.pad(x, (kernel // 2, 0))
            x = quantise(functional.conv1d(x, block.conv.weight, block.conv.bias), *BUFFERS)
            x = functional.max_pool1d(x, 2)
        expected.append(x[0].T.detach().numpy())
    np.testing.assert_array_equal(frames, np.concatenate(expected, axis=1))
    # as soon as all inputs of a frame are there, and every four steps
    completed = np.flatnonzero([each["complete"] for each in outputs])
    assert set(np.diff(completed)) == {4}
    assert completed[0] == decoder.timing.lookahead - decoder.timing.update_period + 1


def test_metadata_say_where_the_graph_comes_from():
    metadata = {"system": "sRTnet", "session": "indy", "origin": {"commit": "abc"}}
    model = export.graph(hybrid("one block", "fixed point"), metadata)
    found = {each.key: each.value for each in model.metadata_props}
    assert found["system"] == "sRTnet"
    texts = {name: json.loads(text) for name, text in found.items() if text[0] in "[{0123456789"}
    assert texts["origin"] == {"commit": "abc"}
    assert (texts["scale"], texts["offset"]) == ([0.5, 2.0], [0.25, -1.0])
    assert (texts["channels"], texts["weight_format"]) == (5, [1, 7])
    assert texts["start"].keys() == export.initial_states(model).keys()
    (opset,) = model.opset_import
    assert opset.version == 13


def test_weights_are_stored_as_in_the_decoder():
    """Half precision takes half the space."""
    small, large = (
        export.graph(hybrid("two blocks", kind), {}).graph for kind in ("float16", "float32")
    )
    kinds = [{each.name: each.data_type for each in g.initializer} for g in (small, large)]
    (name,) = [name for name in kinds[0] if name == "convs.0.0.weight"]
    assert [each[name] for each in kinds] == [10, 1]  # ONNX's codes of float16 and float


def stage_of_ones_own():
    return Handmade(3, "a stage of one's own")


def decoder_without_stages():
    return ANN2(channels=3)


def decoder_with_gaps():
    return Handmade(3, hybrid("kernel 1", "float32").stages()[0])


def namesakes():
    readout = stages.Linear("readout", torch.zeros(3, 3))
    return Handmade(3, readout, readout)


def areas_out_of_step():
    convs = [(c,) for c in hybrid("two blocks", "float32").stages()[:2]]
    return Handmade(9, stages.Parallel((5, 4), tuple(convs)))


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (stage_of_ones_own, 'the stage "a stage of one\'s own" has no ONNX graph; known: Conv'),
        (decoder_without_stages, r"ANN2 cannot be exported: .* its layer fc1 \(Linear\) computes"),
        (decoder_with_gaps, "Handmade has no velocity at some steps: .* Keypoints"),
        (namesakes, "two layers have a value readout.weight"),
        (areas_out_of_step, r"different kernels and paddings \(\[\(\(3, 1\),\), \(\(6, 3\),\)\]"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_refusals(decoder, message):
    with pytest.raises(ExportError, match=message):
        export.graph(decoder(), {})


def test_a_decoder_without_convolutions_has_no_half():
    with pytest.raises(ExportError, match="SNN2 has no convolutions"):
        export.convolutions(snn2("zero"), {})


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"package onnx is missing .*'spikereach\[export\]'"):
        export.graph(snn2("zero"), {})
