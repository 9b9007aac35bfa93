"""Architectures by name."""

import pytest
from pydantic import ValidationError

from spikereach.config import ConfigError, System
from spikereach.config.architectures import ARCHITECTURES, sizes_of
from spikereach.models import zoo
from spikereach.models.decoder import Decoder
from spikereach.models.zoo import build


def system(architecture, **sizes):
    return System.model_validate(
        {
            "architecture": architecture,
            "sizes": sizes,
            "areas": ["M1"],
            "spiking": True,
            "training": None,
            "base": "other",
        }
    )


def test_build_passes_the_sizes():
    decoder = build(system("rsnn", hidden=7), channels=5)
    assert decoder.channels == 5
    assert decoder.recurrent.weight.shape == (7, 7)


def test_a_dotted_path_names_a_decoder_of_ones_own():
    assert build(system("spikereach.models.snn2:SNN2", hidden=3), 4).fc1.weight.shape == (3, 4)


class OwnDecoder(Decoder):
    """Whose sizes may also be given by position."""

    def __init__(self, channels, hidden, tau_ms=20.0):
        super().__init__(channels=channels)
        self.sizes = hidden, tau_ms


class NoChannels(Decoder):
    def __init__(self):
        super().__init__(channels=3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_are_known_without_importing(architecture):
    taken = zoo._parameters(zoo.find(architecture))
    assert sizes_of(architecture) == taken.keys() - {"channels", "area_channels"}


def test_sizes_need_not_be_keyword_only():
    assert build(system("test_zoo:OwnDecoder", hidden=7), channels=5).sizes == (7, 20.0)


@pytest.mark.parametrize(
    ("architecture", "sizes", "message"),
    [
        ("rnn", {}, "unknown architecture 'rnn', .*did you mean rsnn?"),
        ("rsnn", {"hiden": 3}, r"rsnn has no size 'hiden'; did you mean hidden\?"),
        ("rsnn", {"channels": 3}, r"no size 'channels'"),
        ("snn2", {"reset": "soft"}, r"unknown reset 'soft'"),
        ("gru", {"tau_mem_ms": 5}, r"no size 'tau_mem_ms'; .*known: .*layer_norm, pad"),
        ("lif", {"slope": 5}, r"needs the size 'window'; known: conv_channels, .*slope, .*window"),
        ("nowhere.module", {}, r"and no path package\.module:Class of your own"),
        ("nowhere.module:", {}, r"and no path package\.module:Class of your own"),
        ("nowhere.module:Class", {}, r"cannot be imported: .*'nowhere'.* in PYTHONPATH\?"),
        ("spikereach.models.snn2:Absent", {}, r"snn2\.py has no Absent"),
        ("spikereach.config:System", {}, r"System is no Decoder: derive it from spikereach\.mod"),
        ("test_zoo:OwnDecoder", {}, r"needs the size 'hidden'; known: hidden, tau_ms"),
        ("test_zoo:OwnDecoder", {"hiden": 3}, r"no size 'hiden'; .*did you mean hidden\?"),
        ("test_zoo:NoChannels", {}, r"unexpected keyword argument 'channels'"),
    ],
)
def test_wrong_systems_are_named(architecture, sizes, message):
    with pytest.raises((ConfigError, ValidationError), match=message):
        build(system(architecture, **sizes), channels=4)
