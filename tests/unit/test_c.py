"""Exported C against the engine, bit for bit, on this machine's compiler."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_integers import SIZES, in_fixed_point

from spikereach.evaluation.footprint import deployment
from spikereach.export import c
from spikereach.export.c import packing
from spikereach.export.engine import Engine
from spikereach.export.errors import ExportError
from spikereach.export.program import Program, program
from spikereach.models import stages
from spikereach.models.decoder import Decoder
from spikereach.models.hybrid import Hybrid
from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.lif.step import RESETS

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc) on this machine")
WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
FORMATS = (1, 7), (1, 4)


def spikes_of(channels: int, bins: int = 80, rate: float = 0.2, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((bins, channels)) < rate).astype(np.uint8)


def check(
    made: Program, folder: Path, *flags: str, spikes: np.ndarray | None = None, rare=False
) -> Path:
    """Build an exported program in a folder of its own, and compare it with the engine."""
    spikes = spikes_of(made.channels) if spikes is None else spikes
    for name, content in c.files(made, spikes).items():
        (folder / name).write_bytes(content)
    velocities = np.frombuffer((folder / "velocities.bin").read_bytes(), "<i4").reshape(-1, 2)
    assert np.array_equal(velocities, Engine(made).run(spikes))
    assert rare or velocities.any()
    sources = [folder / name for name in ("main.c", "decoder.c", "weights.c")]
    subprocess.run([COMPILER, *WARNINGS, *flags, *sources, "-o", folder / "decoder"], check=True)
    command = [folder / "decoder", "check", folder / "spikes.bin", folder / "velocities.bin"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return folder


def handmade(channels: int, made: list, weights, buffers) -> Program:
    """Of stages."""
    decoder = Decoder(channels=channels)
    decoder.stages = lambda: made
    decoder.weight_format, decoder.buffer_format = weights, buffers
    return program(decoder)


class Drawn:
    """Random layers on a grid."""

    def __init__(self, weights, seed: int = 0):
        self.weights, self.generator = weights, torch.Generator().manual_seed(seed)

    def values(self, *shape: int) -> torch.Tensor:
        drawn = torch.randn(shape, generator=self.generator) * 2.0 ** self.weights[0] / 3
        return quantise(drawn, *self.weights)

    def linear(self, name: str, outputs: int, inputs: int, bias: bool = False) -> stages.Linear:
        return stages.Linear(
            name, self.values(outputs, inputs), self.values(outputs) if bias else None
        )

    def decays(self, number: int) -> torch.Tensor:
        drawn = torch.rand(number, generator=self.generator) * 0.4 + 0.5
        return quantise(drawn, *self.weights)


def currents(channels: int, weights, buffers, seed: int = 0, bias: bool = False) -> Program:
    """As RSNN: current-based neurons, two read-outs and their mean."""
    drawn, units = Drawn(weights, seed), 11
    layers = drawn.linear("in", units, channels, bias), drawn.linear("rec", units, units, bias)
    return handmade(
        channels,
        [
            stages.CurrentLIF("hidden", *layers, drawn.decays(units), drawn.decays(units), buffers),
            drawn.linear("readout", 4, units),
            stages.CurrentIntegrator(
                "readouts", drawn.decays(4), drawn.decays(4), -(2.0 ** -buffers[1]), buffers
            ),
            stages.Mean(2),
        ],
        weights,
        buffers,
    )


def leaky(
    channels: int, reset: str, weights, buffers, seed: int = 0, recurrent=False, bias=False
) -> Program:
    """As SNN2 and the decoder of docs/add-a-system.md: neurons and leaky integrators."""
    drawn, units = Drawn(weights, seed), 13
    decay, readout_decay = drawn.decays(2).tolist()
    return handmade(
        channels,
        [
            stages.LIF(
                "hidden",
                drawn.linear("in", units, channels, bias),
                drawn.linear("rec", units, units, bias) if recurrent else None,
                decay,
                2.0 ** -min(2, weights[1]),
                reset,
                buffers,
            ),
            drawn.linear("readout", 2, units, bias),
            stages.Integrator("velocity", readout_decay, buffers),
        ],
        weights,
        buffers,
    )


@needs_compiler
@pytest.mark.parametrize("merge", ["none", "pre-LIF", "post-LIF"])
def test_hybrids_agree(merge, tmp_path):
    decoder = Hybrid(channels=13, merge=merge, area_channels=[6, 7], blocks=3, **SIZES)
    check(program(in_fixed_point(decoder, *FORMATS)), tmp_path)


@needs_compiler
@pytest.mark.parametrize("buffers", [(0, 0), (1, 1), (6, 0)])
def test_buffers_may_be_coarse(buffers, tmp_path):
    decoder = in_fixed_point(Hybrid(channels=5, blocks=2, **SIZES), (1, 7), buffers)
    check(program(decoder), tmp_path, rare=True)


@needs_compiler
@pytest.mark.parametrize("reset", sorted(RESETS))
def test_leaky_neurons_agree(reset, tmp_path):
    check(leaky(9, reset, (1, 7), (3, 8), recurrent=reset == "zero", bias=True), tmp_path)


@needs_compiler
def test_current_based_neurons_agree(tmp_path):
    check(currents(9, (2, 7), (3, 8), bias=True), tmp_path)


@needs_compiler
def test_membranes_may_be_too_narrow_for_a_spike(tmp_path):
    check(currents(5, (2, 4), (0, 7)), tmp_path, rare=True)


@pytest.fixture(scope="module")
def srtnet(tmp_path_factory):
    """sRTnet's sizes with random weights, and its folder of C."""
    sizes = {"kernel": 9, "conv_channels": 40, "lif_layers": 2, "lif_units": 56, "dropout": 0.5}
    decoder = in_fixed_point(Hybrid(channels=96, blocks=2, **sizes), *FORMATS)
    folder = tmp_path_factory.mktemp("srtnet")
    for name, content in c.files(program(decoder), spikes_of(96, 40)).items():
        (folder / name).write_bytes(content)
    return decoder, folder


@needs_compiler
def test_memory_is_within_two_percent_of_the_footprint(srtnet):
    decoder, folder = srtnet
    probe = folder / "probe.c"
    probe.write_text(
        '#include <stdio.h>\n#include "decoder.h"\n'
        'int main(void) { printf("%d", (int)sizeof(decoder_state)); return 0; }\n'
    )
    subprocess.run([COMPILER, probe, "-o", folder / "probe"], check=True)
    state = int(subprocess.run([folder / "probe"], capture_output=True, check=True).stdout)
    tables = (folder / "weights.c").read_text().count("0x")  # a byte each
    computed = deployment(decoder)
    assert tables == pytest.approx(computed["weights_bytes"], rel=0.001)
    assert tables + state == pytest.approx(computed["total_bytes"], rel=0.02)
    assert state < 2048


@needs_compiler
def test_make_check_needs_nothing_but_the_folder(srtnet):
    _, folder = srtnet
    done = subprocess.run(["make", "check"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "40 bins: all velocities agree to the last bit" in done.stdout
    velocities = folder / "velocities.bin"
    golden = velocities.read_bytes()
    changed = bytearray(golden)
    changed[300] ^= 1
    program = folder / "build" / "decoder"
    for content, told in {
        bytes(changed): "bin 37 has another velocity",
        golden[:-8]: "fewer velocities than bins",
        golden + b"\0": "more velocities than bins",
    }.items():
        velocities.write_bytes(content)
        command = [program, "check", folder / "spikes.bin", velocities]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.returncode == 1
        assert told in found.stderr
    subprocess.run([program, folder / "spikes.bin", velocities], check=True)
    assert velocities.read_bytes() == golden


@needs_compiler
def test_sanitizers_find_nothing(tmp_path):
    merged = Hybrid(channels=13, merge="post-LIF", area_channels=[6, 7], blocks=2, **SIZES)
    for number, made in enumerate(
        [program(in_fixed_point(merged, (2, 9), (1, 4))), currents(9, (2, 5), (3, 8))]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(made, folder, *SANITIZERS)


@pytest.mark.skipif(shutil.which("cppcheck") is None, reason="no cppcheck on this machine")
def test_cppcheck_finds_nothing(tmp_path):
    merged = Hybrid(channels=13, merge="pre-LIF", area_channels=[6, 7], blocks=2, **SIZES)
    for made in (program(in_fixed_point(merged)), currents(9, (2, 5), (3, 8))):
        for name, content in c.files(made, spikes_of(made.channels)).items():
            (tmp_path / name).write_bytes(content)
        sources = [tmp_path / name for name in ("main.c", "decoder.c", "weights.c")]
        checks = "--enable=warning,style,performance,portability"
        command = ["cppcheck", "--quiet", "--std=c99", "--error-exitcode=1", checks, *sources]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr


def test_sources_call_no_library(srtnet):
    _, folder = srtnet
    source = (folder / "decoder.c").read_text()
    assert re.findall("#include [^\n]*", source) == ['#include "decoder.h"', '#include "weights.h"']
    assert not re.search(r"\b(float|double|malloc|goto)\b", source)
    assert max(map(len, source.splitlines())) <= 100


@given(
    st.integers(2, packing.WIDEST).flatmap(
        lambda width: st.tuples(
            st.just(width),
            st.lists(st.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1), min_size=1),
        )
    )
)
def test_weights_are_packed_as_numbers_of_their_bits(drawn):
    width, weights = drawn
    row = packing.packed(np.array([weights, weights]), width)
    assert len(row) == 2 * packing.row_bytes(len(weights), width)
    for half in (row[: len(row) // 2], row[len(row) // 2 :]):
        whole = int.from_bytes(half, "little")
        for place, weight in enumerate(weights):
            assert whole >> place * width & (1 << width) - 1 == weight % (1 << width)


def test_a_comment_stays_a_comment():
    made = leaky(3, "none", (1, 7), (3, 8))
    header = c.files(made, spikes_of(3, 2), ["*/ int x; /*", "a\nb"])["decoder.h"].decode()
    assert " * * / int x; /*\n * a b\n" in header


@needs_compiler
def test_layers_may_be_called_like_words_of_c(tmp_path):
    drawn = Drawn((1, 1))
    names = ["word", "int", "x1", "exp", "int32_t", "decoder_step", "a", "a_weight"]
    layers = [drawn.linear(name, 2, 2 if n else 5) for n, name in enumerate(names)]
    for layer in layers[1:]:
        layer.weight[:] = torch.eye(2)
    check(handmade(5, layers, (1, 1), (3, 8)), tmp_path)


def test_programs_without_a_form_in_c_are_refused():
    drawn = Drawn((1, 1))
    readout, buffers = drawn.linear("readout", 2, 5), (3, 8)
    decay = [stages.Integrator("velocity", 0.5, buffers)]
    conv = stages.Convolution("conv", drawn.values(2, 5, 3), drawn.values(2), 1, buffers)
    for made, weights, told in [
        ([readout], (1, 25), "weights of 27 bits: C unpacks at most 25"),
        (decay, (1, 7), "velocity reads spikes of the input"),
        ([drawn.linear("readout", 3, 5)], (1, 7), "the last stage gives 3 values"),
        ([conv], (1, 7), "no velocity at some steps: end the stages with Keypoints"),
        ([conv, stages.Keypoints(4)], (1, 7), "keypoints of 4 steps come every 2 steps"),
        ([readout, replace(readout, weight=drawn.values(2, 2))], (1, 7), "two stages are called r"),
    ]:
        with pytest.raises(ExportError, match=told):
            c.files(handmade(5, made, weights, buffers), spikes_of(5))


def test_channels_have_numbers_of_sixteen_bits():
    made = [Drawn((0, 2)).linear("readout", 2, 2**16)]
    with pytest.raises(ExportError, match=r"65536 channels: lists .* up to 65534"):
        c.files(handmade(2**16, made, (0, 2), (3, 8)), spikes_of(2**16, 1))


@needs_compiler
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    weights=st.tuples(st.integers(0, 2), st.integers(1, 11)),
    buffers=st.tuples(st.integers(0, 3), st.integers(2, 9)),
    kind=st.sampled_from(["hybrid", "leaky", "currents"]),
    seed=st.integers(0, 2**16),
    rate=st.floats(0.05, 1),
)
def test_any_format_agrees(weights, buffers, kind, seed, rate, tmp_path_factory):
    if kind == "hybrid":
        decoder = Hybrid(channels=5, blocks=2, **SIZES)
        made = program(in_fixed_point(decoder, weights, buffers, seed))
    elif kind == "leaky":
        made = leaky(5, sorted(RESETS)[seed % 4], weights, buffers, seed, recurrent=True)
    else:
        made = currents(5, weights, buffers, seed)
    check(made, tmp_path_factory.mktemp("any"), spikes=spikes_of(5, 80, rate, seed), rare=True)
