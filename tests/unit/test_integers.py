"""Integer programs against the decoders they come from, and against exact arithmetic."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from decoder_checks import random_spikes
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from spikereach.export import bounds
from spikereach.export.engine import Engine, rounded
from spikereach.export.errors import ExportError
from spikereach.export.program import integers, program
from spikereach.models import stages
from spikereach.models.ann import ANN2
from spikereach.models.decoder import Decoder
from spikereach.models.hybrid import Hybrid
from spikereach.models.snn2 import SNN2
from spikereach.ops.common.fixed_point import quantise

SIZES = {"kernel": 3, "conv_channels": 4, "lif_layers": 2, "lif_units": 5, "dropout": 0.0}


def in_fixed_point(decoder: Decoder, weights=(1, 7), buffers=(1, 4), seed=0) -> Decoder:
    """Folded, with random weights over the whole grid."""
    decoder.fold()
    generator = torch.Generator().manual_seed(seed)
    for parameter in decoder.parameters():
        drawn = torch.randn(parameter.shape, generator=generator) * 2.0 ** weights[0] / 3
        parameter.data = quantise(drawn, *weights)
    decoder.weight_format, decoder.buffer_format = weights, buffers
    return decoder.eval()


def streamed(decoder: Decoder, spikes: torch.Tensor) -> np.ndarray:
    step = decoder.standardised_streamer()
    return np.array([step(row).copy() for row in spikes[:, 0].byte().numpy()])


@pytest.mark.parametrize("merge", ["none", "pre-LIF", "post-LIF"])
def test_the_engine_is_the_stream(merge):
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        blocks=st.integers(1, 3),
        weights=st.tuples(st.integers(0, 2), st.integers(2, 9)),
        buffers=st.tuples(st.integers(0, 2), st.integers(2, 7)),
        rate=st.floats(0, 1),
        seed=st.integers(0, 2**16),
    )
    def check(blocks, weights, buffers, rate, seed):
        decoder = Hybrid(channels=5, merge=merge, area_channels=[2, 3], blocks=blocks, **SIZES)
        in_fixed_point(decoder, weights, buffers, seed)
        made = program(decoder)
        assume(bounds.exact(made))
        spikes = random_spikes(120, 1, 5, seed, rate)
        found = Engine(made).run(spikes[:, 0].long().numpy())
        assume(found.any())  # not where nothing fires and biases are zero
        assert np.array_equal(found * made.unit, streamed(decoder, spikes))

    check()


@given(st.integers(-(2**40), 2**40), st.integers(-3, 20))
def test_ties_go_to_even(value, shift):
    exact = Fraction(value) / Fraction(2) ** shift
    assert rounded(np.int64(value), shift) == round(exact)


def test_a_sum_reaches_its_bound():
    weight = torch.tensor([[3.0, -5.0, 7.0], [1.0, 1.0, -1.0]]) / 8
    bias = torch.tensor([2.0, -6.0]) / 8
    decoder = Decoder(channels=3)
    decoder.stages = lambda: [stages.Linear("only", weight, bias)]
    decoder.weight_format, decoder.buffer_format = (0, 3), (0, 3)
    made = program(decoder)
    (bound,) = bounds.bounds(made)
    signs = np.array(list(product([-1, 0, 1], repeat=3)))
    assert bound.largest == np.abs(signs @ made.layers[0].stage.weight.T).max() + 2
    assert (bound.bits, made.output_bits, made.unit) == (3, 3, 1 / 8)


def test_wide_formats_are_refused():
    decoder = in_fixed_point(Hybrid(channels=5, blocks=2, **SIZES), (1, 18), (1, 12))
    with pytest.raises(ExportError, match=r"convs\.0\.1: its sums need \d+ bits .* 31: compress"):
        bounds.check(program(decoder))
    assert not bounds.exact(program(decoder))


def test_sums_that_come_back_from_beyond_the_end_are_not_exact():
    sizes = {"kernel": 1, "conv_channels": 2, "lif_layers": 1, "lif_units": 1, "dropout": 0.0}
    decoder = in_fixed_point(Hybrid(channels=1, blocks=2, **sizes), (6, 4), (1, 16))
    (first, second), (neuron,) = decoder.convs[0], decoder.nets[0]
    for parameter in decoder.parameters():
        parameter.data.zero_()
    first.conv.weight.data[:, 0, 0] = torch.tensor([1023.0, 1.0]) / 16
    second.conv.weight.data[0, 0] = torch.tensor([900.0, -908.0]) / 16
    second.conv.weight.data[1, 1, 1] = 319 / 16
    neuron.input.weight.data[0] = torch.tensor([1022.0, 833.0]) / 16
    decoder.readout.weight.data[:] = 1.0
    made = program(decoder)
    bounds.check(made)
    spikes = torch.ones(20, 1, 1)
    found = Engine(made).run(spikes[:, 0].long().numpy()) * made.unit
    assert not np.array_equal(found, streamed(decoder, spikes))
    assert not bounds.exact(made)


def test_the_largest_branch_counts():
    linear = [stages.Linear(name, torch.tensor([[w]])) for name, w in [("a", 1.5), ("b", 0.125)]]
    decoder = Decoder(channels=2)
    parallel = stages.Parallel((1, 1), tuple((each,) for each in linear))
    decoder.stages = lambda: [parallel, stages.Linear("sum", torch.eye(2))]
    decoder.weight_format = decoder.buffer_format = (1, 3)
    assert [bound.largest for bound in bounds.bounds(program(decoder))] == [12, 1, 96]


def test_thresholds_are_on_the_grid():
    decoder = in_fixed_point(SNN2(channels=5, hidden=6), (0, 7), (1, 8))
    made = program(decoder)
    assert made.layers[0].stage.threshold == 127
    spikes = random_spikes(120, 1, 5, 0, 0.4)
    found = Engine(made).run(spikes[:, 0].long().numpy())
    assert np.array_equal(found * made.unit, streamed(decoder, spikes))
    with torch.inference_mode():
        velocity, _ = decoder(spikes)
    assert np.array_equal(found * made.unit, velocity[:, 0])


def test_decoders_in_floating_point_are_refused():
    decoder = Hybrid(channels=5, blocks=2, **SIZES)
    with pytest.raises(ExportError, match="Hybrid has float32 weights and float32 buffers"):
        program(decoder)


def test_a_scale_per_matrix_is_refused():
    decoder = Hybrid(channels=5, blocks=2, **SIZES)
    decoder.weight_format, decoder.buffer_format = 4, (1, 4)
    with pytest.raises(ExportError, match=r"a scale for each matrix of 4-bit .* \[1, 6\]"):
        program(decoder)


def test_decoders_without_stages_are_refused():
    with pytest.raises(stages.NoStagesError, match=r"ANN2 .* its layer fc1 \(Linear\)"):
        program(ANN2(channels=5))


def test_numbers_beside_the_grid_are_refused():
    decoder = in_fixed_point(Hybrid(channels=5, blocks=2, **SIZES))
    decoder.readout.bias.data[1] = 0.3
    with pytest.raises(ExportError, match=r"readout: bias 0\.3 is not on the grid of \[1, 7\]"):
        program(decoder)
    with pytest.raises(ExportError, match="w 2 is not on the grid"):
        integers("w", 2.0, (1, 7))
    assert integers("w", [-2.0, 255 / 128], (1, 7)).tolist() == [-256, 255]
