"""The decoder of recursive filters against a plain implementation, and its streaming."""

import numpy as np
import pytest
import torch
from decoder_checks import (
    assert_reference_agrees,
    assert_stream_equals_batch,
    earliest_changes,
    losses_of_training,
    random_spikes,
    toy_problem,
)

from spikereach.models.recursive import Recursive
from spikereach.models.stages import NoStagesError

SMALL = {
    "features": 3, "taus_ms": [10.0, 60.0], "lif_layers": 2, "lif_units": 6, "dropout": 0.3,
    "unit_dropout": 0.3, "taus_mem_ms": [50.0, 200.0],
}  # fmt: skip
TAUS = [8.0, 12.0, 20.0, 40.0, 90.0, 150.0]
MEMBRANE_TAUS = [40.0, 50.0, 60.0, 150.0, 200.0, 250.0]


def lively(**sizes) -> Recursive:
    """With time constants of its own for each trace, and neurons that spike."""
    torch.manual_seed(1)
    decoder = Recursive(channels=5, **SMALL | sizes).eval()
    decoder.initialise(torch.full((5,), 50.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        ratio = torch.tensor(TAUS) / torch.tensor([10.0] * 3 + [60.0] * 3)
        decoder.trace_param.copy_(ratio.expm1().log())  # the inverse of softplus
        ratio = torch.tensor(MEMBRANE_TAUS) / torch.tensor([50.0] * 3 + [200.0] * 3)
        for layer in decoder.net:
            layer.tau_param.copy_(ratio.expm1().log())
            layer.input.weight.mul_(3)
            layer.recurrent.weight.normal_(0, 0.5).sub_(2 * torch.eye(6))
    return decoder


def plain(decoder: Recursive, spikes: np.ndarray) -> np.ndarray:
    """Velocity (T, 2) of one recording (T, C), step by step."""
    state = {name: each.double().numpy() for name, each in decoder.state_dict().items()}
    period, lookahead = decoder.timing.update_period, decoder.timing.latency_steps - 1
    decay, gain = np.exp(-4 / np.array(TAUS)), decoder.gain.double().numpy()
    neurons, traces, keypoint, found, at = np.zeros((2, 2, 6)), np.zeros(6), np.zeros(2), [], []
    silence = np.zeros((lookahead + period, 5))
    for step, arriving in enumerate(np.concatenate([spikes, silence]), start=1):
        feature = state["projection.weight"] @ arriving + state["projection.bias"]
        traces = decay * traces + np.concatenate([feature, feature])
        if step % period == 0:
            x = gain * traces
            for layer, (v, z) in enumerate(neurons):
                own, others = (
                    state[f"net.{layer}.{name}.weight"] for name in ("input", "recurrent")
                )
                v[:] = np.exp(-4 * period / np.array(MEMBRANE_TAUS)) * v + own @ x + others @ z - z
                z[:] = v > 1
                x = z
            read = state["readout.weight"] @ x + state["readout.bias"]
            share = np.exp(-4 * period / 50)
            keypoint = share * keypoint + (1 - share) * read
            found.append(keypoint)
            at.append(step - 1 - lookahead)
    steps = np.arange(len(spikes))
    return np.stack([np.interp(steps, at, axis, left=0) for axis in np.transpose(found)], axis=1)


@pytest.mark.parametrize(("period", "lookahead"), [(1, 0), (4, 0), (4, 2), (3, 9)])
def test_decodes_as_written_out(period, lookahead):
    decoder = lively(period=period, lookahead=lookahead)
    spikes = random_spikes(99, 2, 5)
    with torch.no_grad():
        velocity = decoder.decode(spikes).numpy()
    for stream in range(2):
        expected = plain(decoder, spikes[:, stream].numpy())
        np.testing.assert_allclose(velocity[:, stream], expected, atol=1e-4)
    assert velocity[20:].std() > 0.02


@pytest.mark.parametrize("fixed_point", [False, True])
def test_streaming(fixed_point):
    decoder = lively(lookahead=5)
    if fixed_point:
        decoder.weight_format, decoder.buffer_format = (1, 7), (3, 6)
    assert_stream_equals_batch(decoder, longest=20)
    assert_reference_agrees(decoder, steps=60)
    spikes = random_spikes(61, 1, 5)
    with torch.no_grad():
        whole, _ = decoder(spikes)
        early, state = decoder(spikes[:26])
    stream = decoder.standardised_streamer(state)
    late = np.stack([stream(each) for each in spikes[26:, 0].to(torch.uint8).numpy()])
    np.testing.assert_allclose(np.concatenate([early[:, 0], late]), whole[:, 0], atol=1e-5)


@pytest.mark.parametrize("lookahead", [0, 6])
def test_measured_lookahead_is_the_declared_one(lookahead):
    decoder = lively(lookahead=lookahead)
    assert decoder.timing.lookahead == lookahead + 3
    changes = earliest_changes(decoder, 60, range(40, 44))
    assert min(changes.values()) == 0
    assert len(changes) == 4


def test_folding_and_half_precision_change_little():
    decoder = lively()
    spikes = random_spikes(120, 2, 5)
    before = decoder.decode(spikes)
    decoder.fold()
    assert not list(decoder.buffers())
    torch.testing.assert_close(decoder.decode(spikes), before)
    decoder.half()
    after = decoder.decode(spikes)
    assert after.dtype == torch.float32
    assert (after - before).std() < 0.3 * before.std()


def test_sizes_that_do_not_fit():
    wrong = {"features": 0}, {"taus_ms": []}, {"taus_ms": [0.0]}, {"lookahead": -1}
    for sizes in (*wrong, {"dropout": -0.1}, {"unit_dropout": 1.5}):
        with pytest.raises(ValueError, match="must be"):
            Recursive(channels=5, **SMALL | sizes)


def test_channel_dropout_silences_channels_for_whole_windows():
    decoder, seen = lively(channel_dropout=0.25), []
    decoder.projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    spikes = torch.ones(40, 400, 5, dtype=torch.uint8)
    torch.manual_seed(0)
    decoder.train()(spikes)
    decoder.eval()(spikes)
    heard = seen[0].float().mean(0)  # (B, C), of all steps
    assert heard.unique().tolist() == [0.0, 1.0]
    assert abs(heard.mean() - 0.75) < 4 * (0.25 * 0.75 / heard.numel()) ** 0.5
    assert (seen[1] == 1).all()
    with pytest.raises(ValueError, match="channel_dropout is 1"):
        lively(channel_dropout=1.0)


def test_export_is_refused_by_name():
    with pytest.raises(NoStagesError, match=r"Recursive cannot be exported"):
        lively().stages()


def test_learns():
    torch.manual_seed(0)
    sizes = SMALL | {"features": 8, "lif_units": 16, "dropout": 0.0, "unit_dropout": 0.0}
    decoder = Recursive(channels=16, **sizes)
    decoder.initialise(torch.full((16,), 40.0), torch.Generator().manual_seed(0))
    spikes, velocity = toy_problem(128, 8, 16)
    losses = losses_of_training(decoder, spikes, velocity, updates=40, rate=1e-2)
    assert np.mean(losses[-5:]) < 0.7 * velocity.var().item()
