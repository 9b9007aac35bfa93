"""The integers of an export beside what the Python decoder decoded."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikereach.export import agreement, c, folder
from spikereach.export.engine import Engine
from spikereach.export.errors import ExportError
from spikereach.export.firmware.machines import MACHINES, missing
from spikereach.export.firmware.measure import golden, measure
from spikereach.export.program import program
from spikereach.models.decoder import Standardisation
from spikereach.models.hybrid import Hybrid
from spikereach.models.passes import as_input
from spikereach.ops.common.fixed_point import quantise
from spikereach.workflow.plan import EXPORTED


@pytest.fixture(scope="module")
def decoded():
    """A small decoder in integers, spikes, and what it decodes in float32."""
    torch.manual_seed(0)
    sizes = {"blocks": 1, "kernel": 3, "conv_channels": 4, "lif_layers": 1, "lif_units": 5}
    decoder = Hybrid(channels=6, dropout=0.0, **sizes)
    decoder.eval().fold()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.copy_(quantise(parameter, 1, 7))
    decoder.weight_format, decoder.buffer_format = (1, 7), (1, 4)
    decoder.standardisation = Standardisation((0.3, 7.1), (-0.2, 0.01))
    spikes = (np.random.default_rng(0).random((64, 6)) < 0.4).astype(np.uint8)
    with torch.inference_mode():
        standardised = decoder.decode_standardised(as_input(decoder, spikes).float())
    return program(decoder), spikes, decoder.standardisation.undo(standardised[:, 0]).numpy()


def test_integers_agree_to_the_last_bit_of_float32(decoded):
    agreement.check(*decoded)
    assert np.abs(decoded[2]).max() > 1, "it moves"


def test_one_unit_in_the_last_place_is_another_velocity(decoded):
    integers, spikes, predicted = decoded
    changed = predicted.copy()
    changed[11, 1] = np.nextafter(changed[11, 1], np.float32(np.inf))
    with pytest.raises(ExportError, match=r"in 1 of .* first in step 11"):
        agreement.check(integers, spikes, changed)


def test_thirds_are_rounded(decoded):
    integers, spikes, predicted = decoded
    offset = np.array(integers.standardisation.offset, np.float32)
    third = (predicted - offset) / 3 + offset
    agreement.check(replace(integers, divisor=3), spikes, third)
    with pytest.raises(ExportError, match="another velocity"):
        agreement.check(replace(integers, divisor=3), spikes, predicted)


def test_the_workflow_lists_the_files_of_an_export(tmp_path, decoded):
    integers, spikes, _ = decoded
    folder.write(tmp_path / "decoder", c.files(integers, spikes), {"format": "c"})
    assert {path.name for path in (tmp_path / "decoder").iterdir()} == set(EXPORTED)
    given, velocities = golden(tmp_path / "decoder")
    assert (given == spikes).all()
    assert (velocities == Engine(integers).run(spikes)).all()


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda machine: machine.name)
def test_machines_agree_with_the_engine(tmp_path, decoded, machine):
    integers, spikes, _ = decoded
    for name, content in c.files(integers, spikes).items():
        (tmp_path / name).write_bytes(content)
    found = measure(tmp_path, *golden(tmp_path), machine, tmp_path / "build")
    assert found.code_bytes < 4096
