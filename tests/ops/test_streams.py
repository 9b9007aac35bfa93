"""Streams equal the decoders' forward, bin by bin and from any state."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spikereach import config
from spikereach.models import zoo
from spikereach.ops.common import loops
from spikereach.ops.common.fixed_point import quantise

SYSTEMS = ["Wiener", "SNN2", "tinyRSNN", "bigRSNN", "RTnet", "IIRnet", "ANN2"]
AREAS = ["M1"] * 20 + ["S1"] * 4
STEPS = 90


def make(name, repository, **sizes):
    system = config.read(repository / "config.yaml").systems[name]
    system = system.model_copy(update={"sizes": system.sizes | sizes})
    torch.manual_seed(0)
    decoder = zoo.build(system, 24, areas=AREAS)
    with torch.no_grad():
        decoder((torch.rand(400, 2, 24) < 0.2).float())  # statistics of batch norms
        for parameter in decoder.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    return decoder.eval()


def recording(steps, seed=1):
    generator = np.random.default_rng(seed)
    return (generator.random((steps, 24)) < 0.15).astype(np.uint8)


@torch.no_grad()
def assert_streams(decoder, begun, silent=slice(0), **tolerance):
    """From the state after ``begun`` bins on; S1 is silent in some bins."""
    state, bins = None, torch.from_numpy(recording(begun + STEPS)).float()[:, None]
    bins[silent, :, AREAS.index("S1") :] = 0
    if begun:
        _, state = decoder(bins[:begun])
    step, expected, streamed = decoder.standardised_streamer(state), [], []
    for x in bins[begun:]:
        velocity, state = decoder(x[None], state)
        expected.append(velocity[0, 0])
        streamed.append(torch.from_numpy(step(x[0].numpy().astype(np.uint8)).copy()))
    expected = torch.stack(expected)
    assert expected.std() > 1e-3
    tolerance = tolerance or {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(torch.stack(streamed), expected, **tolerance)


@pytest.mark.parametrize("begun", [0, 1, 6, 50, 51])
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_stream_equals_forward_from_any_state(name, begun, repository):
    assert_streams(make(name, repository), begun)


def test_a_stream_hears_when_an_area_falls_silent_and_speaks_again(repository):
    decoder, silent = make("RTnet", repository, merge="gate"), slice(40, 100)
    assert decoder.timing.receptive_field < 60
    assert_streams(decoder, 30, silent)


def test_a_stream_of_three_blocks_equals_forward(repository):
    assert_streams(make("BMnet", repository), 403)  # silent until its look-ahead has passed


@pytest.mark.parametrize("begun", [0, 51])
@pytest.mark.parametrize("stored", ["float16", (1, 4)])
@pytest.mark.parametrize("sizes", [{}, {"merge": "post-LIF"}], ids=["one net", "a net per area"])
def test_a_hybrid_stream_stores_what_forward_stores(stored, sizes, begun, repository):
    decoder = make("RTnet", repository, **sizes)
    decoder.fold()
    for parameter in decoder.parameters():  # on a grid where sums of any order are exact
        parameter.data = (parameter.data * 64).round() / 64
    decoder.buffer_format = stored
    assert_streams(decoder, begun)


@pytest.mark.parametrize("begun", [0, 51])
@pytest.mark.parametrize("name", ["SNN2", "tinyRSNN"])
def test_a_stream_in_fixed_point_has_the_bits_of_forward(name, begun, repository):
    decoder = make(name, repository)
    for parameter in decoder.parameters():
        parameter.data = quantise(parameter.data, 1, 7)
    decoder.weight_format, decoder.buffer_format = (1, 7), (2, 10)
    assert_streams(decoder, begun, rtol=0, atol=0)


@pytest.mark.parametrize("begun", [0, 60])
@pytest.mark.parametrize("name", ["tinyRSNN", "bigRSNN"])
def test_a_stream_in_half_precision_rounds_what_forward_rounds(name, begun, repository):
    decoder = make(name, repository, hidden=32).half()
    with torch.no_grad():
        _, state = decoder((torch.rand(max(begun, 1), 1, 24) < 0.2).float())
    step, streamed = decoder.standardised_streamer(state), []
    bins = recording(STEPS)
    with torch.no_grad():
        expected, _ = decoder(torch.from_numpy(bins).float()[:, None], state)
    streamed = np.stack([step(x).copy() for x in bins])
    assert expected.std() > 1e-3
    np.testing.assert_allclose(streamed, expected[:, 0].numpy(), rtol=2**-10, atol=2**-24)


@given(arrays(np.uint32, 20, elements=st.integers(0, 2**32 - 1)))
def test_rounding_to_half_precision_is_numpys(bits):
    expected = bits.view(np.float32)
    with np.errstate(over="ignore"):
        halves = expected.astype(np.float16).astype(np.float32)
    loops.round_half(expected)
    np.testing.assert_array_equal(expected, halves)


def test_streams_do_not_share_state(repository):
    decoder, bins = make("tinyRSNN", repository), recording(40)
    first, second = decoder.standardised_streamer(), decoder.standardised_streamer()
    alone = [first(x).copy() for x in bins]
    assert all(np.array_equal(second(x), y) for x, y in zip(bins, alone, strict=True))


@given(
    inputs=st.integers(0, 40),
    outputs=st.integers(0, 40),
    density=st.sampled_from([0, 0.1, 0.5, 1]),
    dtype=st.sampled_from([np.uint8, np.float32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_inputs_are_received_one_after_the_other(inputs, outputs, density, dtype, seed):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(inputs) < density, rng.uniform(0, 9, inputs), 0).astype(dtype)
    weight_t = rng.normal(size=(inputs, outputs)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    out = np.empty(outputs, np.float32)
    loops.receive(x, weight_t, bias, out)
    expected = bias.copy()
    for source in np.flatnonzero(x):
        expected += np.float32(x[source]) * weight_t[source]
    np.testing.assert_array_equal(out, expected)
