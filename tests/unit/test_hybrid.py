"""The hybrid decoder against a plain implementation, and its streaming."""

import math

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
from torch.nn import functional

from spikereach.models.buffers import LayerBuffer, layer_buffers
from spikereach.models.hybrid import Hybrid
from spikereach.models.stages import LIF, NoStagesError, flat
from spikereach.ops.common.fixed_point import Formats
from spikereach.ops.common.record import recording

RTNET = {
    "blocks": 2,
    "kernel": 9,
    "conv_channels": 40,
    "lif_layers": 2,
    "lif_units": 56,
    "dropout": 0.3,
}
SMALL = {
    "blocks": 2,
    "kernel": 9,
    "conv_channels": 4,
    "lif_layers": 2,
    "lif_units": 6,
    "dropout": 0.3,
}


def lively(decoder: Hybrid) -> Hybrid:
    """With used batch norms, and neurons that inhibit themselves so that all layers spike."""
    torch.manual_seed(1)
    with torch.no_grad():
        for conv in decoder.convs:
            for block in conv:
                block.conv.bias.uniform_(-1, 1)
                block.norm.momentum = 1.0
                block.norm.weight.uniform_(0.5, 1.5)
                block.norm.bias.uniform_(-0.5, 0.5)
        for net in decoder.nets:
            for layer in net:
                layer.input.weight.normal_(0, 3)
                layer.recurrent.weight.normal_(0, 0.5).sub_(4 * torch.eye(layer.units))
        decoder.train()
        decoder(random_spikes(500, 2, decoder.channels))
    return decoder.eval()


def plain(decoder: Hybrid, spikes: torch.Tensor) -> np.ndarray:
    """Velocity (T, 2) of one recording (T, C), as the paper's pipeline reads, written out."""
    period, field = decoder.timing.update_period, decoder.timing.receptive_field
    shift = field // 2 + period - 1 - decoder.timing.lookahead  # of kernels, into the past
    x = torch.cat([spikes, torch.zeros(decoder.timing.lookahead, decoder.channels)]).T[None]
    for block in decoder.convs[0]:
        size = block.conv.kernel_size[0]
        x = functional.conv1d(functional.pad(x, (size // 2, 0)), block.conv.weight, block.conv.bias)
        x = functional.max_pool1d(block.norm(x), 2)
    x = x[0].T
    for layer in decoder.nets[0]:
        alpha = np.exp(-4 * decoder.timing.update_period / 100)
        v, z = torch.zeros(layer.units), torch.zeros(layer.units)
        spikes_out = []
        for frame in x:
            v = alpha * v + layer.input.weight @ frame + layer.recurrent.weight @ z - z
            z = (v > 1).float()
            spikes_out.append(z)
        x = torch.stack(spikes_out)
    assert 0.02 < x.mean() < 0.98
    keypoints = (x @ decoder.readout.weight.T + decoder.readout.bias).numpy()
    at = period * np.arange(len(keypoints)) + shift
    steps = np.arange(len(spikes))
    assert at[-1] >= steps[-1]
    velocity = [np.interp(steps, at, keypoints[:, axis], left=0) for axis in range(2)]
    return np.stack(velocity, axis=1)


@pytest.mark.parametrize(
    ("blocks", "lookahead"), [(1, None), (2, None), (3, None), (1, 0), (2, 0), (2, 5)]
)
@pytest.mark.parametrize("steps", [64, 77])
def test_decodes_as_the_plain_pipeline(blocks, lookahead, steps):
    decoder = lively(Hybrid(channels=5, lookahead=lookahead, **SMALL | {"blocks": blocks}))
    spikes = random_spikes(steps, 2, 5)
    with torch.no_grad():
        velocity = decoder.decode(spikes)
        for stream in range(2):
            np.testing.assert_allclose(
                velocity[:, stream].numpy(), plain(decoder, spikes[:, stream]), atol=1e-5
            )


@pytest.mark.parametrize(
    ("blocks", "kernel", "field", "latency_ms", "rate_hz"),
    [(2, 9, 46, 96, 62.5), (3, 31, 652, 1308, 31.25)],
    ids=["RTnet", "BMnet"],
)
def test_published_latency_and_rate(blocks, kernel, field, latency_ms, rate_hz):
    decoder = Hybrid(channels=3, **SMALL | {"blocks": blocks, "kernel": kernel})
    assert decoder.timing.receptive_field == field
    assert decoder.timing.latency_steps * 4 == latency_ms
    assert 250 / decoder.timing.update_period == rate_hz
    assert decoder.timing.lookahead == field // 2 + decoder.timing.update_period - 1


def test_buffer_table_of_rtnet():
    assert layer_buffers([9, 18]) == [
        LayerBuffer("input", 46, 4, 12),
        LayerBuffer("conv1", 38, 4, 4),
        LayerBuffer("pool1", 19, 2, 19),
        LayerBuffer("conv2", 2, 2, 2),
        LayerBuffer("pool2", 1, 1, 1),
    ]


@pytest.mark.parametrize("kernels", [[3], [9, 18], [4, 8, 16]])
def test_receptive_field_is_what_the_gradient_sees(kernels):
    """Steps before and after a keypoint that its frame depends on, over many inputs."""
    sizes = SMALL | {"blocks": len(kernels), "kernel": kernels[0], "conv_channels": 8}
    decoder = Hybrid(channels=3, **sizes).eval()
    keypoint, period = 20, decoder.timing.update_period
    inputs = torch.rand(8, 3 * keypoint * period, 3, requires_grad=True)
    states = tuple(block.init_state(8) for block in decoder.convs[0])
    (frames,), _ = decoder.convs[0]([inputs], states, Formats())
    frames[:, keypoint].sum().backward()
    touched = inputs.grad.abs().sum((0, 2)).nonzero()[:, 0] - keypoint * period
    first, last = int(touched[0]), int(touched[-1])
    assert last - first + 1 == decoder.timing.receptive_field
    assert last + period - 1 == decoder.timing.lookahead


def test_kernels_in_the_past_are_the_same_frames_sooner():
    centred = lively(Hybrid(channels=5, **SMALL))
    spikes = random_spikes(150, 2, 5)
    for lookahead in (0, 5, 23):
        shifted = Hybrid(channels=5, lookahead=lookahead, **SMALL).eval()
        shifted.load_state_dict(centred.state_dict())
        assert shifted.timing.latency_steps == lookahead + 1
        assert shifted.timing.lookahead == lookahead + 3
        with torch.no_grad():
            assert torch.equal(shifted(spikes)[0], centred(spikes)[0])
    for wrong in (-1, 24):
        with pytest.raises(ValueError, match=f"lookahead is {wrong}: expected 0 to 23"):
            Hybrid(channels=5, lookahead=wrong, **SMALL)


@pytest.mark.parametrize("merge", ["none", "pre-LIF", "post-LIF", "gate"])
def test_streaming(merge):
    areas = {} if merge == "none" else {"area_channels": [2, 3]}
    decoder = lively(Hybrid(channels=5, merge=merge, **areas, **SMALL))
    assert_stream_equals_batch(decoder, longest=60)
    assert_reference_agrees(decoder, steps=120)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("steps", [120, 121, 122])
@pytest.mark.parametrize("buffer_format", ["float32", "float16", (1, 4)])
def test_compiled_loops_agree_with_modules(buffer_format, steps, folded):
    decoder = lively(Hybrid(channels=5, **SMALL))
    if folded:
        decoder.fold()
    decoder.buffer_format = buffer_format
    assert_reference_agrees(decoder, steps)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_silence_follows_a_recording(training, kind):
    decoder = lively(Hybrid(channels=5, **SMALL)).train(training)
    spikes = random_spikes(203, 3, 5).to(kind)
    silence = torch.zeros(decoder.timing.lookahead, 3, 5)
    torch.manual_seed(0)
    velocity = decoder.decode(spikes)
    torch.manual_seed(0)
    written_out, _ = decoder(torch.cat([spikes.float(), silence]))
    assert torch.equal(velocity, written_out[decoder.timing.lookahead :])


@pytest.mark.parametrize(("blocks", "lookahead"), [(1, None), (2, None), (2, 0)])
def test_measured_lookahead_is_the_declared_one(blocks, lookahead):
    decoder = Hybrid(channels=5, lookahead=lookahead, **SMALL | {"blocks": blocks})
    with torch.no_grad():
        for block in decoder.convs[0]:
            block.conv.weight[:, :, -1] *= 10  # the newest input counts for much
    lively(decoder)
    changes = earliest_changes(decoder, 120, range(60, 60 + decoder.timing.update_period))
    # Some input changes the very output of its own step, which is `lookahead` steps late.
    assert min(changes.values()) == 0
    assert len(changes) == decoder.timing.update_period


def test_output_before_the_recording_is_zero():
    decoder = lively(Hybrid(channels=5, **SMALL))
    velocity, _ = decoder(random_spikes(decoder.timing.lookahead + 5, 2, 5))
    assert (velocity[: decoder.timing.lookahead] == 0).all()
    assert (velocity[decoder.timing.lookahead :] != 0).all()


@pytest.mark.parametrize(("channels", "parameters"), [(96, 75202), (192, 109762)])
def test_published_parameters_after_folding(channels, parameters):
    decoder = Hybrid(channels=channels, **RTNET)
    decoder.fold()
    assert sum(parameter.numel() for parameter in decoder.parameters()) == parameters
    assert not list(decoder.buffers())


def test_folding_changes_no_output():
    decoder = lively(Hybrid(channels=5, **SMALL))
    spikes = random_spikes(200, 2, 5)
    with torch.no_grad():
        before = decoder.decode(spikes)
        decoder.fold()
        decoder.fold()  # a second time does nothing
        after = decoder.decode(spikes)
    assert decoder.folded
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_buffers_on_the_fixed_point_grid():
    decoder = lively(Hybrid(channels=5, **SMALL))
    decoder.buffer_format = (1, 4)
    with torch.no_grad(), recording(decoder) as record:
        _, state = decoder(random_spikes(200, 2, 5))
    stored = [calls.inputs[0] for calls in record.calls if calls.layer is decoder.convs[0][1].conv]
    stored += [block.odd for block in state.blocks[0]]
    stored += [neuron.v / 4 for neuron in state.neurons[0]]  # in units of four thresholds
    assert len(stored[0].unique()) > 10
    for values in stored:
        assert torch.equal(values * 16, (values * 16).round())
        assert (values >= -2).all()
        assert (values <= 2 - 1 / 16).all()
    assert_stream_equals_batch(decoder, longest=30)


def test_half_precision_rounds_weights_and_buffers():
    decoder = lively(Hybrid(channels=5, **SMALL))
    decoder.fold()
    spikes = random_spikes(40, 1, 5)
    decoder.weight_format = decoder.buffer_format = "float16"
    rounded = Hybrid(channels=5, **SMALL).eval()
    rounded.fold()
    rounded.load_state_dict({n: p.half().float() for n, p in decoder.state_dict().items()})
    rounded.buffer_format = "float16"
    decoder.half()
    assert sum(p.element_size() for p in decoder.parameters()) == 2 * len(
        list(decoder.parameters())
    )
    velocity = decoder.decode(spikes)
    assert velocity.dtype == torch.float32
    torch.testing.assert_close(velocity, rounded.decode(spikes))


def test_buffer_sizes_of_rtnet():
    sizes = {size.layer: size for size in Hybrid(channels=96, **RTNET).buffer_sizes()}
    assert {name: size.values for name, size in sizes.items()} == {
        "input": 12 * 96,
        "conv1": 4 * 40,
        "pool1": 19 * 40,
        "conv2": 2 * 40,
        "pool2": 40,
        "net1.lif1": 56,
        "net1.lif2": 56,
    }
    assert [size.kind for size in sizes.values()] == ["input"] + 4 * ["buffer"] + 2 * ["state"]


def test_areas_stay_apart_until_merged():
    spikes = random_spikes(200, 1, 5)
    changed = spikes.clone()
    changed[:, :, 2:] = 1 - changed[:, :, 2:]
    for merge, separate in {"none": False, "pre-LIF": False, "post-LIF": True}.items():
        areas = {} if merge == "none" else {"area_channels": [2, 3]}
        decoder = lively(Hybrid(channels=5, merge=merge, **areas, **SMALL))
        hidden = []
        for inputs in (spikes, changed):
            with recording(decoder) as record:
                decoder(inputs)
            hidden.append(record.spikes)
        assert set(hidden[0]) == {f"net{n + 1}.lif{i}" for n in range(1 + separate) for i in (1, 2)}
        assert torch.equal(hidden[0]["net1.lif2"], hidden[1]["net1.lif2"]) == separate


def test_merged_parameters():
    def parameters(**sizes):
        decoder = Hybrid(**{"channels": 192} | RTNET | sizes)
        decoder.fold()
        return sum(parameter.numel() for parameter in decoder.parameters())

    areas = {"area_channels": [96, 96]}
    convolutions = 96 * 40 * 9 + 40 + 40 * 40 * 18 + 40
    neurons = 40 * 56 + 3 * 56 * 56
    readout = 2 * 56 + 2
    assert parameters(merge="pre-LIF", **areas) == 2 * convolutions + neurons + 40 * 56 + readout
    joint = parameters(merge="pre-LIF", **areas)
    alone = parameters(channels=96)
    second = 2 * neurons + 40 * 56 + 2 * (2 * 56)  # nets of either decoder, and their read-outs
    assert parameters(merge="gate", **areas) == joint + alone - 2 + second
    assert parameters(merge="post-LIF", **areas) == 2 * (convolutions + neurons + readout) - 2


def gated(**sizes) -> Hybrid:
    """Two channels, and a gate of three."""
    return lively(Hybrid(channels=5, merge="gate", area_channels=[2, 3], **SMALL | sizes))


def apart(decoder: Hybrid) -> tuple[list[Hybrid], list[Hybrid]]:
    """Decoders of the first area alone and of both, each of one net of a gated one."""
    known, found = decoder.state_dict(), ([], [])
    for net, readout in enumerate(known["readout.weight"].chunk(4, dim=1)):
        merge, channels, convs = [("none", 2, [0]), ("pre-LIF", 5, [1, 2])][net // 2]
        single = Hybrid(channels=channels, merge=merge, area_channels=[2, 3], **SMALL).eval()
        weights = {"readout.weight": 2 * readout, "readout.bias": known["readout.bias"]}
        for name in single.state_dict().keys() - weights:
            kind, number, *rest = name.split(".")
            number = net if kind == "nets" else convs[int(number)]
            weights[name] = known[".".join([kind, str(number), *rest])]
        single.load_state_dict(weights)
        found[net // 2].append(single)
    return found


def test_a_silent_area_leaves_what_the_first_decodes_alone():
    """The mean of two decoders that know the first area alone; otherwise, of two of both."""
    decoder, spikes = gated(), random_spikes(300, 2, 5)
    spikes[:, 0, 2:] = 0
    decoded = decoder.decode(spikes)
    for stream, (singles, channels) in enumerate(zip(apart(decoder), (2, 5), strict=True)):
        each = [single.decode(spikes[..., :channels]) for single in singles]
        differences = (decoded - (each[0] + each[1]) / 2).abs().amax((0, 2))
        assert differences[stream] < 1e-5
        assert differences[1 - stream] > 0.1
        assert (each[0] - each[1]).abs().max() > 0.1


def test_training_compares_what_each_net_predicts_for_itself():
    decoder, spikes, velocity = gated(), random_spikes(200, 2, 5), torch.rand(200, 2, 2)
    singles, both = apart(decoder)
    decoder.training = True  # but neither dropout nor batch norms
    decoded, target = decoder.training_pairs(spikes, velocity)
    expected = [single.decode(spikes[..., :2]) for single in singles]
    expected += [single.decode(spikes) for single in both]
    torch.testing.assert_close(decoded, torch.cat(expected, dim=1))
    assert torch.equal(target, torch.cat(4 * [velocity], dim=1))
    decoder.eval()
    decoded, target = decoder.training_pairs(spikes, velocity)
    assert torch.equal(decoded, decoder.decode(spikes))
    assert torch.equal(target, velocity)


@pytest.mark.parametrize("joint", [True, False])
def test_neither_decoder_learns_from_the_error_of_the_other(joint):
    decoder, spikes = gated(channel_dropout=0.1), random_spikes(200, 2, 5)
    decoded, target = decoder.train().training_pairs(spikes, torch.rand(200, 2, 2))
    errors = (decoded - target).square().chunk(2, dim=1)
    errors[joint].mean().backward()
    learned = {
        ".".join(name.split(".")[:2])
        for name, parameter in decoder.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    } - {"readout.weight", "readout.bias"}
    alone = {"convs.0", "nets.0", "nets.1"}
    assert learned == ({"convs.1", "convs.2", "nets.2", "nets.3"} if joint else alone)
    moved = [bool(part.any()) for part in decoder.readout.weight.grad.chunk(2, dim=1)]
    assert moved == [not joint, joint]


@pytest.mark.parametrize("chunk", [1, 7, 300])
def test_presence_is_a_spike_in_the_receptive_field(chunk):
    decoder = gated()
    spikes = random_spikes(300, 2, 5, rate=0.01)
    spikes[120:200, 0, 2:] = 0
    frames, field = decoder.frames, decoder.timing.receptive_field
    state, found = frames.silence(1, 2, torch.device("cpu")), []
    for part in spikes.split(chunk):
        here, state = frames.present([[part[:, :, 2:].transpose(0, 1)]], state)
        found.append(here)
    heard = spikes[:, :, 2:].amax(2).T
    ends = range(field - 1 - (9 // 2 + 2 * (18 // 2)), 300, 4)
    fields = [slice(max(0, end - field + 1), end + 1) for end in ends]
    expected = [[bool(row[steps].any()) for steps in fields] for row in heard]
    assert torch.cat(found, dim=2)[0].tolist() == expected
    assert not all(expected[0])


def test_channel_dropout_silences_channels_for_whole_windows():
    decoder = Hybrid(channels=5, channel_dropout=0.25, **SMALL | {"batch_norm": False})
    seen = []
    decoder.convs[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    spikes = torch.ones(50, 400, 5, dtype=torch.uint8)
    torch.manual_seed(0)
    decoder.train()(spikes)
    decoder.eval()(spikes)
    heard = seen[0].float().mean(1)  # (B, C), of all steps
    assert heard.unique().tolist() == [0.0, 1.0]
    assert abs(heard.mean() - 0.75) < 4 * math.sqrt(0.25 * 0.75 / heard.numel())
    assert (seen[1] == 1).all()


def test_a_gate_is_not_exported():
    with pytest.raises(NoStagesError, match="export one with merge none, pre-LIF or post-LIF"):
        gated().stages()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"channel_dropout": 1.0}, "give 0 or more, below 1"),
        ({"merge": "gate", "area_channels": [5]}, "needs two areas or more"),
        ({"merge": "late"}, "unknown merge 'late'"),
        ({"merge": "pre-LIF"}, "area_channels that add up to 5"),
        ({"merge": "post-LIF", "area_channels": [2, 2]}, "area_channels that add up to 5"),
        ({"surrogate": "box"}, "unknown surrogate 'box'"),
        ({"tau_mem_ms": 0.0}, "time constant must be positive"),
        ({"blocks": 0}, "must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        Hybrid(channels=5, **SMALL | sizes)


@pytest.mark.parametrize("surrogate", ["fast_sigmoid", "triangle", "arctan"])
def test_learns(surrogate):
    torch.manual_seed(0)
    slope = {"fast_sigmoid": 5.0, "triangle": 0.3, "arctan": 1.0}[surrogate]
    sizes = SMALL | {"conv_channels": 8, "lif_units": 16, "dropout": 0.0}
    decoder = Hybrid(channels=16, surrogate=surrogate, slope=slope, **sizes)
    spikes, velocity = toy_problem(256, 8, 16)
    losses = losses_of_training(decoder, spikes, velocity, updates=40, rate=1e-2)
    assert np.mean(losses[-5:]) < 0.7 * velocity.var().item()


def test_decays_lie_on_the_grid_of_fixed_point_weights():
    decoder = lively(Hybrid(channels=5, tau_mem_ms=100.0, **SMALL))
    (exact,) = {layer.decay for layer in flat(decoder.stages()) if isinstance(layer, LIF)}
    spikes = random_spikes(200, 1, 5)
    _, before = decoder(spikes)
    decoder.weight_format = (1, 7)
    (stored,) = {layer.decay for layer in flat(decoder.stages()) if isinstance(layer, LIF)}
    assert exact == math.exp(-0.16)
    assert stored == 109 / 128
    _, after = decoder(spikes)
    assert not torch.equal(before.neurons[0][0].v, after.neurons[0][0].v)  # computes with it
