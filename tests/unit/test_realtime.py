"""The real-time check."""

import numpy as np
import pytest
import torch
from torch import nn

from spikereach.evaluation import realtime
from spikereach.evaluation.errors import EvaluationError
from spikereach.models.decoder import Timing
from spikereach.models.passes import as_input
from stand_ins import Centred, Gated, Peeking, Recurrent, Straight, Windowed


@pytest.fixture
def spikes():
    return (np.random.default_rng(0).random((400, 12)) < 0.1).astype(np.uint8)


def build(kind, **sizes):
    torch.manual_seed(0)
    return kind(channels=12, **sizes).eval()


@pytest.mark.parametrize("kind", [Straight, Recurrent, Gated, Centred, Windowed])
def test_honest_decoders_pass(kind, spikes):
    decoder = build(kind)
    found = realtime.check(decoder, spikes, 300)
    assert found["lookahead_measured"] <= found["lookahead_declared"] == decoder.timing.lookahead
    assert found["stream_max_error"] < 1e-5
    assert found["stream_diverged"] == 0
    assert 0 < found["median_us"] <= found["p99_us"]


@pytest.mark.parametrize("kernel", [1, 5, 9, 31])
def test_the_look_ahead_of_a_centred_kernel_is_measured_exactly(kernel, spikes):
    decoder = build(Centred, kernel=kernel)
    assert realtime.check(decoder, spikes, 100)["lookahead_measured"] == kernel // 2


def test_a_causal_decoder_looks_nowhere(spikes):
    assert realtime.check(build(Gated), spikes, 50)["lookahead_measured"] == 0


def test_a_decoder_that_hides_its_look_ahead_is_found(spikes):
    with pytest.raises(EvaluationError, match=r"declares 0 steps.* 4 steps before"):
        realtime.check(build(Peeking, kernel=9), spikes, 100)


def test_a_spiking_decoder_that_hides_its_look_ahead_is_found(spikes):
    class Delayed(Recurrent):
        """Takes its input two steps early."""

        def forward(self, spikes, state=None):
            early = torch.cat([spikes[2:], spikes.new_zeros(2, *spikes.shape[1:])])
            return super().forward(early, state)

    decoder = build(Delayed)
    with torch.no_grad():
        decoder.input.weight *= 3
    with pytest.raises(EvaluationError, match="declares 0 steps, but a bin changes the output 2"):
        realtime.check(decoder, spikes, 100)


def test_a_reader_of_the_whole_future_is_found(spikes):
    class Global(Straight):
        def forward(self, spikes, state=None):
            return super().forward(spikes - spikes.mean(0), state)

    with pytest.raises(EvaluationError, match="look-ahead: the decoder declares 0"):
        realtime.check(build(Global), spikes, 100)


@pytest.mark.parametrize("kind", [Gated, Recurrent])
def test_a_decoder_that_forgets_its_state_is_found(kind, spikes):
    class Forgetful(kind):
        def forward(self, spikes, state=None):
            return super().forward(spikes, None)

    decoder = build(Forgetful)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter *= 3
    with pytest.raises(EvaluationError, match="stream: bin by bin"):
        realtime.check(decoder, spikes, 300)


def test_a_decoder_that_overwrites_its_state_passes(spikes):
    class InPlace(Centred):
        def forward(self, spikes, state=None):
            velocity, after = super().forward(spikes, state)
            if state is None:
                return velocity, after.clone()
            state.copy_(after)
            return velocity, state

    assert realtime.check(build(InPlace), spikes, 200)["stream_max_error"] < 1e-5


def test_noise_of_a_decoder_does_not_count_as_look_ahead(spikes):
    class Noisy(Gated):
        def forward(self, spikes, state=None):
            velocity, state = super().forward(spikes, state)
            return velocity + 1e-8 * torch.rand_like(velocity), state

    decoder = build(Noisy)
    assert realtime.measure_lookahead(decoder, as_input(decoder, spikes).float()) == 0


@pytest.mark.parametrize(
    ("latency", "period", "expected"),
    [(25, 25, True), (26, 1, False), (1, 26, False), (24, 4, True), (327, 8, False)],
)
def test_the_verdict_follows_the_rule(latency, period, expected):
    decoder = build(Straight)
    decoder.timing = Timing(latency_steps=latency, update_period=period)
    found = realtime.timing(decoder)
    assert found["realtime"] is expected
    assert found["latency_ms"] == latency * 4
    assert found["execution_rate_hz"] == pytest.approx(250 / period, abs=1e-6)


def test_dropout_is_off(spikes):
    decoder = build(Straight)
    decoder.relu = nn.Dropout(0.5)
    decoder.train()
    realtime.check(decoder, spikes, 50)
    assert not decoder.training
