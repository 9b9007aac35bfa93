"""An image run in QEMU: what it decoded, and the instructions that each bin took."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikereach import programs
from spikereach.export.firmware.errors import FirmwareError
from spikereach.export.firmware.image import Image

PROBES = (1, 2, 3, 10, 1000, 65536)
"""Rounds of the loop ``known``, of 2 n + 1 instructions, by which the counter is checked."""
AROUND = 2
"""Instructions between two readings of the counter beside the function: its call, one reading."""
LIMIT_S = 600.0
"""For QEMU, which decodes thousands of bins per second."""


@dataclass(frozen=True, eq=False)
class Run:
    """What the firmware wrote."""

    velocities: np.ndarray
    """(T, 2) int32"""
    instructions: np.ndarray
    """(T,) of ``decoder_step`` with its return, without its call"""
    stack_bytes: int
    """Of the deepest step: what it overwrote below the stack pointer of its caller."""


def run(image: Image) -> Run:
    """Run an image to its end.

    Raises:
        FirmwareError: QEMU fails or does not end, or its counter is not exact.
    """
    machine, written = image.machine, image.folder / "results.bin"
    written.unlink(missing_ok=True)
    quiet = ("-nographic", "-monitor", "none", "-serial", "none", "-nodefaults")
    calls = ("-semihosting-config", "enable=on,target=native")
    counting = ("-icount", f"shift={machine.shift},sleep=off")
    command = [*machine.emulator, *quiet, *calls, *counting, "-kernel", image.path.name]
    failed = f"{image.path}: {machine.emulator[0]}"
    try:
        done = programs.run(command, limit_s=LIMIT_S, folder=image.folder)
    except FileNotFoundError:
        raise FirmwareError(f"{failed} is not installed: apt install {machine.packages}") from None
    except TimeoutError:
        raise FirmwareError(
            f"{failed} did not end within {LIMIT_S:g} s; decode fewer bins than {image.bins}"
        ) from None
    if done.code or not written.exists():
        said = done.errors.strip() or "it wrote no results"
        raise FirmwareError(f"{failed} failed ({done.code}): {said}")
    return _read(written, image)


def _read(path: Path, image: Image) -> Run:
    """The harness's ``struct Results``."""
    words = np.frombuffer(path.read_bytes(), "<u4")
    header = len(PROBES) + 1
    if len(words) != header + 3 * image.bins:
        raise FirmwareError(f"{path}: {4 * len(words)} bytes are not those of {image.bins} bins")
    bins = words[header:].reshape(image.bins, 3)
    probes = _instructions(words[: len(PROBES)], image)
    if any(count != 2 * rounds + 1 for count, rounds in zip(probes, PROBES, strict=True)):
        raise FirmwareError(
            f"{image.path}: loops of {[2 * n + 1 for n in PROBES]} instructions were counted as "
            f"{probes.tolist()}: this version of {image.machine.emulator[0]} counts otherwise than "
            "its `-icount` says; use 7.2"
        )
    velocities = bins[:, 1:].astype(np.int32)
    return Run(velocities, _instructions(bins[:, 0], image), int(words[len(PROBES)]))


def _instructions(counts: np.ndarray, image: Image) -> np.ndarray:
    """Of functions, from what the counter advanced around them."""
    ratio = image.machine.instructions
    scaled = counts.astype(np.int64) * ratio.numerator
    return (scaled + ratio.denominator // 2) // ratio.denominator - AROUND
