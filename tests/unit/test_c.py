"""Exported C against the engine, bit for bit, on this machine's compiler."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_integers import SIZES, in_fixed_point

from spikereach.export import c
from spikereach.export.engine import Engine
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
@pytest.mark.parametrize("reset", sorted(RESETS))
def test_leaky_neurons_agree(reset, tmp_path):
    check(leaky(9, reset, (1, 7), (3, 8), recurrent=reset == "zero", bias=True), tmp_path)


@needs_compiler
def test_current_based_neurons_agree(tmp_path):
    check(currents(9, (2, 7), (3, 8), bias=True), tmp_path)


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
