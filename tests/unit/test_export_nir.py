"""NIR graphs, written, read back and simulated, against the decoders' own spikes and velocities."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from decoder_checks import Handmade, random_spikes

from spikereach.export import nir as export
from spikereach.export.errors import ExportError
from spikereach.models import stages
from spikereach.models.decoder import Decoder, Standardisation
from spikereach.models.hybrid import Hybrid
from spikereach.models.rsnn import RSNN
from spikereach.models.snn2 import SNN2
from spikereach.ops.common.record import recording

nir = pytest.importorskip("nir")


class Simulator:
    """What the metadata of a graph say, in NumPy, bin by bin: spikes (C,) to velocity (2,)."""

    def __init__(self, graph):
        self.nodes, self.edges = graph.nodes, graph.edges
        self.dt = graph.metadata["dt"]
        self.kind = {"float16": np.float16, "float32": np.float32}[graph.metadata["arithmetic"]]
        self.states, self.values = {}, {}
        for name, node in self.nodes.items():
            if hasattr(node, "v_leak"):
                assert not node.v_leak.any()
                zeros = np.zeros(node.v_leak.shape, self.kind)
                v = zeros + self.kind(node.metadata.get("v_start", 0))
                self.states[name] = {"v": v, "i": zeros, "s": zeros, "z": zeros}

    def __call__(self, spikes):
        self.values = {"spikes": spikes.astype(self.kind)}
        current_based = [
            n for n in self.states if isinstance(self.nodes[n], nir.CubaLIF | nir.CubaLI)
        ]
        for name in current_based:
            self.values[name] = self.filter(self.nodes[name], self.states[name])
        for name in current_based:
            self.states[name]["s"] = self.received(name)
        return self.received("velocity")

    def received(self, name):
        parts = [self.value(source) for source, target in self.edges if target == name]
        return sum(parts[1:], parts[0])

    def value(self, name):
        """Output of a node at this step; of a LIF node that sends to itself, at the last one."""
        node = self.nodes[name]
        if name not in self.values:
            if name in self.states:
                self.values[name] = self.states[name]["z"]
                self.values[name] = self.leak(node, self.states[name], self.received(name))
            else:
                sent = node.weight @ self.received(name).astype(np.float32)
                sent = sent + getattr(node, "bias", 0)
                self.values[name] = sent if name == "mean" else sent.astype(self.kind)
        return self.values[name]

    def filter(self, node, state):
        """CubaLIF and CubaLI."""
        z = np.zeros_like(state["v"])
        if isinstance(node, nir.CubaLIF):
            z = (state["v"] > node.v_threshold).astype(self.kind)
        keep, get = self.factors(node.tau_mem, node.r)
        v = np.where(z == 1, self.kind(0), keep * state["v"] + get * state["i"])
        keep, get = self.factors(node.tau_syn, node.w_in)
        state["v"], state["i"] = v, keep * state["i"] + get * state["s"]
        return z if isinstance(node, nir.CubaLIF) else v

    def leak(self, node, state, current):
        """LIF and LI."""
        keep, get = self.factors(node.tau, node.r)
        v, silent = state["v"], 1 - state["z"]
        if isinstance(node, nir.LI):
            state["v"] = keep * v + get * current
            return state["v"]
        if node.metadata["step"].startswith("1. v = v_reset"):
            v = keep * (v * silent) + get * current
        else:
            v = (keep * v + get * current) * silent
        state["v"], state["z"] = v, (v > node.v_threshold).astype(self.kind)
        return state["z"]

    def factors(self, tau, gain):
        return (1 - self.dt / tau).astype(self.kind), (self.dt / tau * gain).astype(self.kind)


def read_back(decoder: Decoder, path, metadata=()):
    """The graph, from a file that the library wrote."""
    nir.write(path / "decoder.nir", export.graph(decoder, dict(metadata)))
    return nir.read(path / "decoder.nir")


def decoded(decoder: Decoder, spikes: torch.Tensor):
    """Hidden spikes (T, N) and, bin by bin, velocity (T, 2) of the decoder itself."""
    with torch.no_grad(), recording(decoder) as record:
        decoder(spikes[:, None])
    stream = decoder.standardised_streamer()
    velocity = [stream(row).copy() for row in spikes.byte().numpy()]
    return record.activations[0][:, 0].numpy(), np.array(velocity)


def simulated(graph, hidden: str, spikes: torch.Tensor):
    """The same of the graph."""
    simulator, fired, velocities = Simulator(graph), [], []
    for row in spikes.numpy():
        velocities.append(simulator(row))
        fired.append(simulator.values[hidden])
    return np.array(fired), np.array(velocities)


@pytest.mark.parametrize("readouts", [1, 3])
@pytest.mark.parametrize("number_format", ["float32", "float16"])
def test_rsnn_spikes_as_its_graph(number_format, readouts, tmp_path):
    torch.manual_seed(5)
    decoder = RSNN(channels=6, hidden=16, readouts=[(50, 10), (20, 5), (9, 3)][:readouts]).eval()
    if number_format == "float16":
        decoder.half()
        decoder.weight_format = decoder.buffer_format = "float16"  # as the compression sets them
    spikes = random_spikes(400, 1, 6)[:, 0]
    graph = read_back(decoder, tmp_path)
    assert graph.metadata["arithmetic"] == number_format
    fired, velocity = simulated(graph, "hidden", spikes)
    expected, wanted = decoded(decoder, spikes)
    np.testing.assert_array_equal(fired, expected)
    np.testing.assert_allclose(velocity, wanted, atol=1e-6)
    assert 0.01 < expected.mean() < 0.9


@pytest.mark.parametrize("reset", ["zero", "zero_and_input"])
def test_snn2_spikes_as_its_graph(reset, tmp_path):
    torch.manual_seed(6)
    decoder = SNN2(channels=6, hidden=16, reset=reset).eval()
    with torch.no_grad():
        decoder.fc1.weight.uniform_(-0.5, 1)
    spikes = random_spikes(400, 1, 6)[:, 0]
    graph = read_back(decoder, tmp_path)
    fired, velocity = simulated(graph, "lif1", spikes)
    expected, wanted = decoded(decoder, spikes)
    np.testing.assert_array_equal(fired, expected)
    np.testing.assert_allclose(velocity, wanted, rtol=1e-5, atol=1e-5)
    assert 0.01 < expected.mean() < 0.9


def test_recurrence_and_biases_of_plain_neurons(tmp_path):
    """Against the equations."""
    generator = torch.Generator().manual_seed(7)
    w, r, b = (torch.rand(s, generator=generator) - 0.3 for s in ((8, 4), (8, 8), (8,)))
    out, bias = torch.rand(2, 8, generator=generator), torch.rand(2, generator=generator)
    input_, recurrent = stages.Linear("in", w, b), stages.Linear("rec", r - 1)
    decoder = Handmade(
        4,
        stages.LIF("hidden", input_, recurrent, 0.8, 0.7, "zero", "float32"),
        stages.Linear("readout", out, bias),
        stages.Integrator("velocities", 0.9, "float32"),
    )
    spikes = random_spikes(200, 1, 4)[:, 0]
    fired, velocity = simulated(read_back(decoder, tmp_path), "hidden", spikes)
    v, z, y = torch.zeros(8), torch.zeros(8), torch.zeros(2)
    for x, found, wanted in zip(spikes, fired, velocity, strict=True):
        v = 0.8 * v * (1 - z) + w @ x + b + (r - 1) @ z
        z = (v > 0.7).float()
        y = 0.9 * y + out @ z + bias
        np.testing.assert_array_equal(found, z)
        np.testing.assert_allclose(wanted, y, rtol=1e-5)
    assert 0.01 < fired.mean() < 0.9


def test_time_constants_are_those_of_the_equations(tmp_path):
    """Of a decay per step of 0.96: 100 ms by the forward Euler rule."""
    graph = read_back(SNN2(channels=3, hidden=2, beta=0.96).eval(), tmp_path)
    node = graph.nodes["lif1"]
    np.testing.assert_allclose(node.tau, [0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(node.r * 0.004 / node.tau, 1)


def test_metadata_survive_the_file(tmp_path):
    decoder = RSNN(channels=3, hidden=2).eval()
    decoder.standardisation = Standardisation((0.5, 2.0), (0.25, -1.0))
    metadata = {"system": "tinyRSNN", "origin": {"commit": "abc"}}
    found = read_back(decoder, tmp_path, metadata).metadata
    assert (found["system"], found["origin"]) == ("tinyRSNN", '{"commit": "abc"}')
    assert (found["dt"], found["lookahead"]) == (0.004, "0")
    assert (found["scale"], found["offset"]) == ("[0.5, 2.0]", "[0.25, -1.0]")
    assert found["rule"] == export.RULE


LIF = stages.LIF("lif", stages.Linear("in", torch.ones(2, 3)), None, 0.9, 1.0, "zero", "float32")
CUBA = stages.CurrentIntegrator("out", torch.full((3,), 0.5), torch.full((3,), 0.5), 0.0, "float32")


def of(*made):
    return lambda: Handmade(3, *made)


def areas():
    return Hybrid(
        channels=3,
        blocks=1,
        kernel=2,
        conv_channels=2,
        lif_layers=1,
        lif_units=2,
        dropout=0.0,
        merge="pre-LIF",
        area_channels=[1, 2],
    )


REFUSED = {
    "convolution": (areas, "Convolution convs.0.0: in NIR .* no maximum of two frames; export"),
    "subtract": (
        lambda: SNN2(channels=3, reset="subtract"),
        "LIF lif1: in NIR a spike sets the membrane to a value, the reset 'subtract' does not",
    ),
    "none": (of(replace(LIF, reset="none")), "the reset 'none' does not"),
    "fixed point": (
        of(replace(LIF, membranes=(3, 5))),
        "LIF lif: in NIR numbers are real, .* to 5 fractional bits and no saturation at 3 integer",
    ),
    "fixed point of read-outs": (of(replace(CUBA, membranes=(1, 4))), "CurrentIntegrator out: "),
    "float16": (of(replace(LIF, membranes="float16")), "no rounding of membranes to float16"),
    "keypoints": (of(stages.Keypoints(4)), "the stage Keypoints: in NIR there is no interpolation"),
    "no leak": (of(replace(LIF, decay=1.0)), "LIF lif: .* leak, a decay of 1 per step does not"),
    "areas": (of(stages.Parallel((1, 2), ((CUBA,), (CUBA,)))), "no node that splits channels"),
    "namesakes": (of(LIF.input, LIF.input), "two layers are named in: give stages names"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refusals(case):
    decoder, message = REFUSED[case]
    with pytest.raises(ExportError, match=message):
        export.graph(decoder(), {})


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ExportError, match=r"package nir is missing .*'spikereach\[export\]'"):
        export.graph(RSNN(channels=3), {})
