"""The windowed decoders against a plain implementation, and their streaming."""

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
from scipy import stats
from torch import nn
from torch.nn import functional

from spikereach.models.vasilache import GRU, LIF, SGRU
from spikereach.ops.common.record import recording

T1 = {"window": 1024, "conv_channels": 32, "kernels": [3, 6, 12], "paddings": [5, 3, 6]}
T2 = {"window": 1024, "conv_channels": 10, "kernels": [3, 3], "paddings": [3, 1]}
SMALL = T2 | {"window": 32, "conv_channels": 5, "hidden": 7, "dropout": 0.2}


@pytest.mark.parametrize("family", [GRU, SGRU, LIF])
def test_streaming(family):
    torch.manual_seed(0)
    decoder = family(channels=4, **SMALL)
    assert_stream_equals_batch(decoder, longest=80)
    assert_reference_agrees(decoder, steps=100)


@pytest.mark.parametrize("family", [GRU, SGRU, LIF])
@pytest.mark.parametrize("paddings", [[3, 1], [2, 2]])
@pytest.mark.parametrize("buffer_format", ["float32", "float16", (1, 4)])
def test_compiled_loops_agree_with_modules(family, paddings, buffer_format):
    torch.manual_seed(0)
    decoder = family(channels=4, **SMALL | {"paddings": paddings})
    with torch.no_grad():
        decoder.convs[0].weight.mul_(5)  # so that neurons spike
    decoder.buffer_format = buffer_format
    assert_reference_agrees(decoder, steps=100)


@pytest.mark.parametrize("family", [GRU, SGRU, LIF])
def test_nothing_before_the_window_is_complete(family):
    """Outputs never depend on later bins, and the first of a window waits for its last."""
    torch.manual_seed(0)
    decoder = family(channels=4, **SMALL)
    with torch.no_grad():
        decoder.convs[0].weight.mul_(20)  # so that neurons spike
    timing = decoder.timing
    assert (timing.lookahead, timing.latency_steps, timing.whole_windows) == (31, 32, 32)
    velocity, _ = decoder(random_spikes(40, 1, 4))
    assert (velocity[:31] == 0).all()
    assert (velocity[31:] != 0).all()
    changes = earliest_changes(decoder, 96, range(32, 64, 5))
    assert min(changes.values()) >= 0


@pytest.mark.parametrize("steps", [32, 50, 96])
def test_every_step_is_decoded(steps):
    decoder = LIF(channels=4, **SMALL).eval()
    spikes = random_spikes(steps, 2, 4)
    velocity = decoder.decode(spikes)
    padded = torch.cat([spikes, torch.zeros(-steps % 32, 2, 4)])
    assert torch.equal(velocity, decoder.decode(padded)[:steps])


@pytest.mark.parametrize("family", [GRU, SGRU, LIF])
def test_only_hidden_states_outlive_a_window(family):
    torch.manual_seed(0)
    decoder = family(channels=4, **SMALL).eval()
    with torch.no_grad():
        decoder.convs[0].weight.mul_(5)  # so that neurons spike
    spikes = random_spikes(96, 2, 4)
    velocity = decoder.decode(spikes)
    for window in range(3):
        part = slice(32 * window, 32 * (window + 1))
        anew = decoder.decode(spikes[part])
        independent = window == 0 or family is LIF
        assert torch.allclose(velocity[part], anew, rtol=1e-5, atol=1e-6) == independent
        assert (decoder.timing.receptive_field == 32) == (family is LIF)


def plain_frames(decoder, spikes):
    """Frames (K, C') of one window (W, C)."""
    x = spikes.T[None]
    for conv in decoder.convs:
        x = functional.max_pool1d(
            functional.conv1d(x, conv.weight, conv.bias, padding=conv.padding), 2
        )
    return x[0].T


def plain_interpolation(decoder, outputs):
    """Velocity (W, 2) from recurrent outputs (K, hidden)."""
    keypoints = torch.stack(
        [
            outputs @ readout.weight[0] + readout.bias
            for readout in (decoder.readout_x, decoder.readout_y)
        ],
        dim=1,
    ).numpy()
    steps = np.arange(1, decoder.window + 1)
    at = decoder.period * np.arange(len(keypoints))
    return np.stack([np.interp(steps, at, keypoints[:, axis]) for axis in range(2)], axis=1)


def starts(streams):
    """The hidden states (streams, 7) at the start of streams."""
    drawn = np.random.default_rng(0).standard_normal((streams, 7), np.float32)
    return torch.from_numpy(drawn)


def test_gru_is_torch_gru():
    """Over two windows, frame after frame."""
    torch.manual_seed(0)
    decoder = GRU(channels=4, **SMALL).eval()
    spikes = random_spikes(64, 1, 4)
    reference = nn.GRU(5, 7)
    for name, parameter in decoder.cell.named_parameters():
        getattr(reference, f"{name}_l0").data = parameter.data
    with torch.no_grad():
        frames = torch.cat([plain_frames(decoder, part) for part in spikes[:, 0].split(32)])
        outputs, _ = reference(frames, starts(1))
        outputs = decoder.layer_norm(outputs).split(9)
        velocity = np.concatenate([plain_interpolation(decoder, part) for part in outputs])
        np.testing.assert_allclose(decoder.decode(spikes)[:, 0].numpy(), velocity, atol=1e-5)


def test_sgru_follows_its_equations():
    torch.manual_seed(0)
    decoder = SGRU(channels=4, **SMALL).eval()
    with torch.no_grad():
        decoder.input.weight.normal_(0, 2)
        decoder.recurrent_gates.weight.normal_(0, 1)
        decoder.recurrent_candidate.weight.normal_(0, 1)
    spikes = random_spikes(64, 1, 4)
    with torch.no_grad():
        w_r, w_z, w_n = decoder.input.weight.chunk(3)
        u_r, u_z = decoder.recurrent_gates.weight.chunk(2)
        u_n = decoder.recurrent_candidate.weight
        alpha = np.exp(-16 / 150)

        def fire(gate, current):
            v[gate] = alpha * v[gate] + current - s[gate]
            s[gate] = (v[gate] > 1).float()
            return s[gate]

        h, velocity, fired = starts(1)[0], [], []
        for window in spikes[:, 0].split(32):
            v, s, outputs = dict.fromkeys("rzn", 0.0), dict.fromkeys("rzn", 0.0), []
            for x in plain_frames(decoder, window):
                r = fire("r", w_r @ x + u_r @ h)
                z = fire("z", w_z @ x + u_z @ h)
                n = fire("n", w_n @ x + u_n @ ((1 - r) * h))
                h = (1 - z) * h + z * n
                outputs.append(h)
                fired.append(torch.cat([r, z, n]))
            velocity.append(plain_interpolation(decoder, torch.stack(outputs)))
        assert 0.05 < torch.stack(fired).mean() < 0.95
        with recording(decoder) as record:
            actual = decoder.decode(spikes)[:, 0].numpy()
        np.testing.assert_allclose(actual, np.concatenate(velocity), atol=1e-5)
        torch.testing.assert_close(record.spikes["gates"][:, 0], torch.stack(fired))


def test_lif_follows_its_equation():
    torch.manual_seed(0)
    decoder = LIF(channels=4, **SMALL, tau_mem_ms=50.0).eval()
    with torch.no_grad():
        decoder.lif.input.weight.normal_(0, 3)
    spikes = random_spikes(32, 1, 4)
    with torch.no_grad():
        v, z, outputs = torch.zeros(7), torch.zeros(7), []
        for x in plain_frames(decoder, spikes[:, 0]):
            v = np.exp(-16 / 50) * v + decoder.lif.input.weight @ x
            v = v + decoder.lif.recurrent.weight @ z - z
            z = (v > 1).float()
            outputs.append(z)
        assert 0.05 < torch.stack(outputs).mean() < 0.95
        velocity = plain_interpolation(decoder, torch.stack(outputs))
        np.testing.assert_allclose(decoder.decode(spikes)[:, 0].numpy(), velocity, atol=1e-5)


def test_initial_hidden_state_is_random_in_training_only():
    decoder = GRU(channels=4, **SMALL)
    spikes = random_spikes(32, 3, 4)
    decoder.dropout.p = 0.0
    decoder.train()
    assert not torch.equal(decoder.decode(spikes), decoder.decode(spikes))
    decoder.eval()
    velocity = decoder.decode(spikes)
    assert torch.equal(velocity, decoder.decode(spikes))
    torch.testing.assert_close(velocity[:, :1], decoder.decode(spikes[:, :1]))


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_hidden_states_start_standard_normal(mode):
    decoder = GRU(channels=4, **SMALL | {"hidden": 40}).train(mode == "training")
    torch.manual_seed(0)
    drawn = decoder.initial_hidden(torch.zeros(1, 9, 500, 5)).double()
    assert drawn.shape == (500, 40)
    assert stats.kstest(drawn.flatten(), "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(drawn.T) - np.eye(40)).max() < 0.2


def test_dropout_follows_pools_and_the_recurrent_layer():
    decoder = GRU(channels=4, **SMALL)
    seen = []
    decoder.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    decoder.decode(random_spikes(32, 100, 4))
    shapes = [tuple(dropped.shape) for dropped in seen]
    assert shapes == [(100, 5, 18), (100, 5, 9), (1, 9, 100, 7)]
    for dropped in seen:
        assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_half_precision_decodes():
    for family in (GRU, SGRU, LIF):
        torch.manual_seed(0)
        decoder = family(channels=4, **SMALL).eval()
        spikes = random_spikes(32, 2, 4)
        expected = decoder.decode(spikes)
        decoder.half()
        for gradients in (True, False):
            with torch.set_grad_enabled(gradients):
                actual = decoder.decode(spikes)
            assert actual.dtype == torch.float32
            torch.testing.assert_close(actual, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"paddings": [0, 0]}, r"make 6 frames of a window of 32; interpolation needs 8 \+ 1"),
        ({"window": 30}, "interpolation needs 7.5"),
        ({"paddings": [3]}, "2 kernels but 1 paddings"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        GRU(channels=4, **SMALL | sizes)


@pytest.mark.parametrize("family", [GRU, SGRU, LIF])
@pytest.mark.parametrize(("sizes", "frames"), [(T1, 129), (T2, 257)], ids=["t1", "t2"])
def test_published_number_of_keypoints(family, sizes, frames):
    decoder = family(channels=3, **sizes, hidden=4, dropout=0.0).eval()
    seen = []
    decoder.readout_x.register_forward_hook(lambda module, inputs, output: seen.append(output))
    decoder.decode(random_spikes(1024, 1, 3))
    assert seen[0].shape == (frames, 1, 1)


@pytest.mark.parametrize(("family", "rate"), [(GRU, 1e-2), (SGRU, 3e-2), (LIF, 3e-2)])
def test_learns(family, rate):
    torch.manual_seed(0)
    sizes = SMALL | {"window": 32, "hidden": 16, "conv_channels": 8, "dropout": 0.0}
    decoder = family(channels=16, **sizes)
    spikes, velocity = toy_problem(32, 16, 16)
    losses = losses_of_training(decoder, spikes, velocity, updates=40, rate=rate)
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
