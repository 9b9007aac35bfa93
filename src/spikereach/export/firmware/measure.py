"""All that is measured of an exported decoder on a machine."""

import re
from pathlib import Path

import numpy as np

from spikereach.export.firmware import emulate, image
from spikereach.export.firmware.errors import FirmwareError
from spikereach.export.firmware.machines import Machine
from spikereach.export.firmware.record import Measured
from spikereach.programs import ask


def golden(program: Path) -> tuple[np.ndarray, np.ndarray]:
    """Spikes (T, C) and integer velocities (T, 2) that an exported folder is checked with."""
    header = (program / "decoder.h").read_text("utf-8")
    channels = int(re.search(r"^#define DECODER_CHANNELS (\d+)", header, re.MULTILINE)[1])
    velocities = np.fromfile(program / "velocities.bin", "<i4").reshape(-1, 2)
    packed = np.fromfile(program / "spikes.bin", np.uint8).reshape(len(velocities), -1)
    return np.unpackbits(packed, axis=1, count=channels, bitorder="little"), velocities


def measure(
    program: Path, spikes: np.ndarray, expected: np.ndarray, machine: Machine, folder: Path
) -> Measured:
    """Decode bins on a machine, compare each velocity, and count.

    Args:
        program: the exported folder.
        spikes: (T, C) of 0 and 1.
        expected: (T, 2) integers, of another implementation.
        machine: one of `machines.MACHINES`.
        folder: for the files of the build.
    Raises:
        FirmwareError: not built, not run to the end, or a velocity differs.
    """
    built = image.build(program, spikes, machine, folder)
    run = emulate.run(built)
    differing = np.flatnonzero((run.velocities != expected).any(axis=1))
    if len(differing):
        first = int(differing[0])
        raise FirmwareError(
            f"{program} on {machine.title}: {len(differing)} of {len(expected)} velocities differ, "
            f"first in bin {first}: {run.velocities[first].tolist()}, expected "
            f"{expected[first].tolist()}; export the decoder again"
        )
    worst = int(run.instructions.argmax())
    return Measured(
        instructions_median=float(np.median(run.instructions)),
        instructions_p99=float(np.percentile(run.instructions, 99)),
        instructions_worst=int(run.instructions[worst]),
        worst_bin=worst,
        weights_bytes=built.total(image.WEIGHTS),
        code_bytes=built.total(image.CODE),
        state_bytes=built.total(image.STATE),
        stack_bytes=run.stack_bytes,
        items=tuple(built.items()),
        compiler=_version(f"{machine.tools}gcc"),
        flags=" ".join((*machine.flags, *image.FLAGS)),
        emulator=_version(machine.emulator[0]),
    )


def _version(program: str) -> str:
    said = ask([program, "--version"], limit_s=10.0, otherwise="its version is not recorded")
    return said.partition("\n")[0] if said else "unknown"
