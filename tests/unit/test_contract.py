"""What is said of decoders that do not keep to the protocol."""

import pytest
import torch
from torch import nn

from spikereach.config.architectures import ARCHITECTURES
from spikereach.models import contract
from spikereach.models.contract import ContractError
from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.models.zoo import find
from stand_ins import Centred, Gated, Recurrent, Straight, Windowed
from training_cases import TinyGRU

CHANNELS = 5
WINDOWED = {
    "window": 64, "conv_channels": 3, "kernels": [3, 3], "paddings": [3, 1], "hidden": 4,
    "dropout": 0.2,
}  # fmt: skip
SIZES = {
    "hybrid": {
        "blocks": 2, "kernel": 9, "conv_channels": 4, "lif_layers": 2, "lif_units": 6,
        "dropout": 0.3,
    },
    "gru": WINDOWED,
    "sgru": WINDOWED,
    "lif": WINDOWED,
    "recursive": {
        "features": 3, "taus_ms": [10, 50], "lif_layers": 2, "lif_units": 6, "dropout": 0.3,
        "unit_dropout": 0.3,
    },
    "counted": {"width": 5, "hidden": 4, "conv_channels": 3, "kernels": [3], "dropout": 0.3},
    "wiener": {"lags": 3, "width": 5},
    "kalman": {"width": 5},
}  # fmt: skip


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures_of_the_package_keep_to_it(architecture):
    contract.check(find(architecture)(channels=CHANNELS, **SIZES.get(architecture, {})))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_spikes_may_be_bytes(architecture, training):
    sizes = SIZES.get(architecture, {})
    decoder = find(architecture)(channels=CHANNELS, **sizes).train(training)
    spikes = (torch.rand(256, 3, CHANNELS) < 0.2).float()
    torch.manual_seed(0)
    expected = decoder.decode(spikes)
    torch.manual_seed(0)
    velocity = decoder.decode(spikes.to(torch.uint8))
    assert velocity.dtype == expected.dtype == torch.float32
    assert torch.equal(velocity, expected)


@pytest.mark.parametrize("kind", [Centred, Gated, Recurrent, Straight, Windowed, TinyGRU])
def test_other_decoders_keep_to_it(kind):
    contract.check(kind(channels=CHANNELS))


def test_the_decoder_stays_as_it_is():
    decoder = find("hybrid")(channels=CHANNELS, **SIZES["hybrid"]).train()
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    random = torch.get_rng_state()
    contract.check(decoder)
    assert decoder.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[n], tensor) for n, tensor in decoder.state_dict().items())


class Plain(Decoder):
    """Keeps to the protocol; each of the following breaks it in one place."""

    def __init__(self, *, channels):
        super().__init__(channels=channels, timing=Timing(receptive_field=4))
        self.readout = nn.Linear(channels, 2)

    def forward(self, spikes, state=None):
        return self.readout(spikes), ()

    def buffer_sizes(self):
        return []


def test_the_plain_one_is_right():
    contract.check(Plain(channels=CHANNELS))


def with_output(change):
    class Changed(Plain):
        def forward(self, spikes, state=None):
            return change(*super().forward(spikes, state))

    return Changed


def with_attribute(**attributes):
    return type("Changed", (Plain,), attributes)


class Functional(Plain):
    def forward(self, spikes, state=None):
        return nn.functional.linear(spikes, self.readout.weight, self.readout.bias), ()


class Hidden(Plain):
    def __init__(self, *, channels):
        super().__init__(channels=channels)
        self.layers = {"readout": self.readout}
        del self.readout

    def forward(self, spikes, state=None):
        return self.layers["readout"](spikes), ()


BROKEN = [
    (with_attribute(forward=Decoder.forward), r"Changed has no forward\(\)"),
    (with_attribute(buffer_sizes=Decoder.buffer_sizes), r"Changed has no buffer_sizes\(\)"),
    (with_attribute(buffer_sizes=lambda self: 12), r"buffer_sizes\(\) returned 12"),
    (
        with_attribute(buffer_sizes=lambda self: [BufferSize("hidden", 3, "membrane")]),
        r"hidden has the kind 'membrane': expected one of input, buffer, state",
    ),
    (with_output(lambda velocity, _: velocity), r"returned a tensor .*: expected two values"),
    (with_output(lambda velocity, _: (velocity, 0, 0)), "returned tuple of 3: expected two"),
    (
        with_output(lambda velocity, _: (velocity[-1:], ())),
        r"of shape \(1, 3, 2\) for spikes of shape \(4, 3, 5\) .*: expected .* \(4, 3, 2\)",
    ),
    (with_output(lambda velocity, _: (velocity.mT, ())), r"\(4, 2, 3\) for .* \(4, 3, 2\)"),
    (with_output(lambda velocity, _: (velocity.tolist(), ())), "velocity list for"),
    (Functional, r"Functional\.forward\(\) called no layer with weights"),
    (Hidden, r"called no layer .*: set layers .* as attributes"),
]


@pytest.mark.parametrize(("kind", "message"), BROKEN)
def test_a_breach_is_named(kind, message):
    with pytest.raises(ContractError, match=message):
        contract.check(kind(channels=CHANNELS))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"lookahead": 1.5}, r"lookahead is 1\.5: expected a whole number of steps, at least 0"),
        ({"update_period": 0}, "update_period is 0: expected .*, at least 1"),
        ({"receptive_field": 0}, "receptive_field is 0: expected .*, at least 1"),
    ],
)
def test_impossible_timing_is_named(steps, message):
    with pytest.raises(ValueError, match=message):
        Timing(**steps)


def test_latency_follows_from_what_is_known():
    assert Timing().latency_steps == 1
    assert Timing(update_period=20).latency_steps == 20
    assert Timing(update_period=4, receptive_field=46).latency_steps == 46
    assert Timing(receptive_field=46, latency_steps=24).latency_steps == 24
