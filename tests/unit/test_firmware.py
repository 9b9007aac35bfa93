"""Decoders on emulated microcontrollers: what is counted, compared and refused."""

import re

import numpy as np
import pytest

from spikereach.export.firmware import emulate, image
from spikereach.export.firmware.errors import FirmwareError
from spikereach.export.firmware.machines import MACHINES, missing
from spikereach.export.firmware.measure import measure

needs_tools = pytest.mark.skipif(missing() is not None, reason=str(missing()))
on_each = pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda machine: machine.name)
CHANNELS = 20

HEADER = f"""
#include <stdint.h>
#define DECODER_CHANNELS {CHANNELS}
typedef struct {{ int32_t v[2]; uint8_t seen; }} decoder_state;
void decoder_init(decoder_state *state);
void decoder_step(decoder_state *state, const uint8_t *spikes, int32_t velocity[2]);
"""

SUM = """
#include "decoder.h"
static const int8_t weights[DECODER_CHANNELS][2] = {WEIGHTS};
void decoder_init(decoder_state *state)
{
    *state = (decoder_state){{0, 0}, 0};
}
void decoder_step(decoder_state *state, const uint8_t *spikes, int32_t velocity[2])
{
    for (unsigned axis = 0; axis < 2; axis++) {
        state->v[axis] /= 7;
        for (unsigned c = 0; c < DECODER_CHANNELS; c++) {
            state->v[axis] += spikes[c / 8] >> (c % 8) & 1 ? weights[c][axis] : 0;
        }
        velocity[axis] = state->v[axis];
    }
}
"""
"""Leaky sums of weights."""

KNOWN = """
#include "decoder.h"
void decoder_init(decoder_state *state)
{
    state->seen = 0;
}
#ifdef __arm__
__asm__(".syntax unified\\n.thumb\\n.text\\n.global decoder_step\\n.thumb_func\\ndecoder_step:\\n"
        "ldrb r3, [r1]\\nadds r3, #1\\n1: subs r3, #1\\nbne 1b\\n"
        "sub sp, #40\\nstr r3, [sp]\\nadd sp, #40\\nstr r3, [r2]\\nstr r3, [r2, #4]\\nbx lr\\n");
#else
__asm__(".text\\n.global decoder_step\\ndecoder_step:\\n"
        "lbu a3, 0(a1)\\naddi a3, a3, 1\\n1: addi a3, a3, -1\\nbnez a3, 1b\\n"
        "addi sp, sp, -48\\nsw a3, 8(sp)\\naddi sp, sp, 48\\n"
        "sw a3, 0(a2)\\nsw a3, 4(a2)\\nret\\n");
#endif
"""
"""Two instructions for each of n + 1 rounds and eight more, n being the first byte of the bin; the
deepest word that it writes lies 40 bytes below its caller's stack pointer."""


def written(folder, source):
    folder.mkdir()
    (folder / "decoder.h").write_text(HEADER)
    (folder / "decoder.c").write_text(source)
    (folder / "main.c").write_text("this is for computers, and not compiled")
    return folder


def spikes_of(first):
    """Bins of 20 channels whose first eight are the bits of these numbers."""
    bits = np.unpackbits(np.asarray(first, np.uint8)[:, None], axis=1, bitorder="little")
    return np.pad(bits, ((0, 0), (0, CHANNELS - 8)))


def summed(weights, spikes):
    """The decoder SUM in NumPy: C divides towards zero."""
    velocities, now = [], np.zeros(2, int)
    for each in spikes.astype(int):
        now = np.trunc(now / 7).astype(int) + each @ weights
        velocities.append(now)
    return np.array(velocities)


@pytest.fixture(scope="session")
def random():
    draw = np.random.default_rng(0)
    weights = draw.integers(-100, 100, (CHANNELS, 2))
    return weights, (draw.random((50, CHANNELS)) < 0.2).astype(np.uint8)


def sum_source(weights):
    rows = ", ".join(f"{{{x}, {y}}}" for x, y in weights.tolist())
    return SUM.replace("{WEIGHTS}", f"{{{rows}}}")


@needs_tools
@on_each
def test_velocities_of_a_machine_are_those_of_numpy(tmp_path, random, machine):
    weights, spikes = random
    program = written(tmp_path / "program", sum_source(weights))
    expected = summed(weights, spikes)
    found = measure(program, spikes, expected, machine, tmp_path / "build")
    assert found.weights_bytes == 2 * CHANNELS
    assert found.state_bytes == 12
    assert 0 < found.instructions_median <= found.instructions_p99 <= found.instructions_worst
    by_section = {section: 0 for section in (*image.CODE, *image.WEIGHTS, *image.STATE)}
    for item in found.items:
        by_section[item.section] += item.bytes
    assert by_section[".decoder_code"] + by_section[".decoder_library"] == found.code_bytes
    assert {"decoder_step", "decoder_init", "weights"} <= {item.name for item in found.items}
    wrong = expected.copy()
    wrong[[7, 31], 1] += 1
    with pytest.raises(FirmwareError, match="2 of 50 velocities differ, first in bin 7"):
        measure(program, spikes, wrong, machine, tmp_path / "build")


@needs_tools
@on_each
def test_instructions_and_stack_are_counted_exactly(tmp_path, machine):
    program, rounds = written(tmp_path / "program", KNOWN), np.array([0, 1, 255, 2, 3, 77, 255])
    built = image.build(program, spikes_of(rounds), machine, tmp_path / "build")
    found = emulate.run(built)
    assert found.instructions.tolist() == (2 * (rounds + 1) + 8).tolist()
    assert found.stack_bytes == 40
    again = emulate.run(built)
    assert again.instructions.tolist() == found.instructions.tolist()


@needs_tools
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("int x = ;", "error: expected expression"),
        (KNOWN.replace("decoder_init", "init"), "undefined reference to `decoder_init'"),
    ],
    ids=["syntax", "no function"],
)
def test_what_a_compiler_refuses_is_said_in_its_words(tmp_path, source, said):
    program, machine = written(tmp_path / "program", source), MACHINES["cortex-m4"]
    with pytest.raises(FirmwareError, match=re.escape(said)):
        image.build(program, spikes_of([0]), machine, tmp_path / "build")


@needs_tools
@on_each
def test_memory_outside_of_the_state_is_refused(tmp_path, machine):
    source = KNOWN.replace("state->seen = 0;", "static uint8_t calls; state->seen = calls++;")
    program = written(tmp_path / "program", source)
    with pytest.raises(FirmwareError, match="variables outside of the state"):
        image.build(program, spikes_of([0]), machine, tmp_path / "build")


def test_absent_tools_are_named_with_their_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = missing()
    for machine in MACHINES.values():
        assert f"{machine.tools}gcc" in said
        assert machine.emulator[0] in said
        assert machine.packages in said
    program = written(tmp_path / "program", KNOWN)
    with pytest.raises(FirmwareError, match="arm-none-eabi-gcc is not installed"):
        image.build(program, spikes_of([0]), MACHINES["cortex-m4"], tmp_path / "build")
