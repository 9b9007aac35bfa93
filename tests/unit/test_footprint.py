"""Deployment footprints."""

import pytest
from torch import nn

from spikereach import config
from spikereach.evaluation.describe import describe
from spikereach.evaluation.footprint import bits, deployment
from spikereach.models.decoder import BufferSize
from spikereach.models.rsnn import RSNN
from stand_ins import Recurrent, Straight


@pytest.mark.parametrize(
    ("number_format", "expected"),
    [("float32", 32), ("float16", 16), ((1, 7), 9), ((1, 4), 6), ((0, 3), 4), (2, 2), (6, 6)],
)
def test_bits(number_format, expected):
    assert bits(number_format) == expected


def test_parts_add_up_at_their_bit_widths():
    decoder = Recurrent(channels=12, hidden=8)
    decoder.weight_format, decoder.buffer_format = (1, 7), (1, 4)
    found = deployment(decoder)
    assert found["weights_bytes"] == (12 * 8 * 9 + 8 * 8 * 9 + 8 * 2 * 9) / 8
    assert found["buffers_bytes"] == 2 + 8 * 6 / 8  # 12 bits of input are two bytes
    assert found["states_bytes"] == 2 * 8 * 6 / 8
    assert found["total_bytes"] == sum(part["bytes"] for part in found["parts"])
    assert (found["weight_format"], found["buffer_format"]) == ((1, 7), (1, 4))


def test_scaled_weights_have_an_exponent_per_matrix_and_the_buffers_constants():
    decoder = RSNN(channels=12, hidden=8, readouts=[(50, 10), (20, 5)])
    decoder.weight_format, decoder.buffer_format = 2, (2, 7)
    found = deployment(decoder)
    matrices = (12 * 8 * 2 + 8 * 8 * 2 + 8 * 4 * 2) / 8 + 3
    decays, states = 2 * (8 + 4), 3 * (8 + 4)
    assert found["weights_bytes"] == matrices + decays * 10 / 8
    assert found["states_bytes"] == states * 10 / 8
    assert found["total_bytes"] == sum(part["bytes"] for part in found["parts"])
    values = sum(part["values"] for part in found["parts"] if part["kind"] == "weights")
    assert values == sum(parameter.numel() for parameter in decoder.parameters())


@pytest.mark.parametrize(
    ("name", "weight_bits", "most"),
    [("smallRSNN", 8, 14_000), ("smallRSNN-6bit", 6, 14_000), ("smallRSNN-4bit", 4, 7_000)],
)
def test_the_small_nets_are_small(repository, name, weight_bits, most):
    found = describe(config.read(repository / "config.yaml").systems[name], channels=96)
    weights, neurons = 72 * (96 + 72 + 6), 72 + 6
    constants = neurons * 2 * (8 if name == "smallRSNN" else 13)
    scales = 0 if name == "smallRSNN" else 3
    expected = (weights * weight_bits + constants + neurons * 3 * 13) / 8 + scales
    total = found["deployment"]["total_bytes"]
    assert total == pytest.approx(expected, abs=4)  # parts are whole bytes
    assert total <= most
    assert (found["lookahead"], found["latency_ms"]) == (0, 4)


@pytest.mark.parametrize("number_format", ["float32", "float16"])
def test_a_stored_format_changes_bytes_as_torch_does(number_format):
    decoder = Straight(channels=12)
    decoder.weight_format = number_format
    if number_format == "float16":
        decoder.half()
    stored = sum(p.numel() * p.element_size() for p in decoder.parameters())
    assert deployment(decoder)["weights_bytes"] == stored


def test_statistics_of_batch_norms_are_weights_until_they_are_folded():
    decoder = Straight(channels=12, hidden=8)
    plain = deployment(decoder)["weights_bytes"]
    decoder.norm = nn.BatchNorm1d(8)
    assert deployment(decoder)["weights_bytes"] == plain + 4 * 8 * 4


def test_inputs_of_windowed_nets_take_a_byte_each():
    decoder = Straight(channels=12)
    assert deployment(decoder)["buffers_bytes"] == 2
    decoder.buffer_sizes = lambda: [BufferSize("first", 12, "input", input_bits=8)]
    assert deployment(decoder)["buffers_bytes"] == 12
