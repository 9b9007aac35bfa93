"""C99 of an integer program: a folder that any C compiler builds and checks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spikereach.export.c import source
from spikereach.export.engine import Engine
from spikereach.export.program import Program

FIXED = ("main.c", "Makefile")


def files(program: Program, spikes: np.ndarray, origin: Sequence[str] = ()) -> dict[str, bytes]:
    """Names and content of all files of the folder.

    Args:
        program: of a decoder.
        spikes: (T, C) of 0 and 1, on which `make check` compares with the `Engine`.
        origin: lines of the comment that heads decoder.h.
    Raises:
        ExportError: 32-bit accumulators do not suffice, or the program has no form in C.
    """
    made = {name: text.encode() for name, text in source.files(program, origin).items()}
    made |= {name: Path(__file__).with_name(name).read_bytes() for name in FIXED}
    velocities = Engine(program).run(spikes)
    return made | {
        "spikes.bin": np.packbits(spikes.astype(bool), axis=1, bitorder="little").tobytes(),
        "velocities.bin": velocities.astype("<i4").tobytes(),
    }
