"""Whether integers say what the Python decoder decoded."""

import numpy as np
import torch

from spikereach.export import bounds
from spikereach.export.engine import Engine
from spikereach.export.errors import ExportError
from spikereach.export.program import Program

LAST_BIT = 1e-6
"""Relative; float32 rounds where several read-outs are divided by a number that is no power of
two."""


def check(program: Program, spikes: np.ndarray, predicted: np.ndarray) -> None:
    """Compare the integer engine with velocities that were decoded in float32.

    Where float32 is not exact (`bounds.exact`), a spike may differ, and there is nothing to
    compare.

    Args:
        program: of a decoder.
        spikes: (T, C) of 0 and 1.
        predicted: (T, 2) float32 in the session's unit, of the steps of the spikes. Those at the
            end for which the engine would need further bins are left out.
    Raises:
        ExportError: they differ; names the step and both values.
    """
    if not bounds.exact(program):
        return
    integers = Engine(program).run(spikes)[program.lookahead :]
    exact = torch.from_numpy(integers * program.unit).float()
    decoded = program.standardisation.undo(exact).numpy()
    predicted = predicted[: len(decoded)]
    tolerance = 0.0 if program.divisor & (program.divisor - 1) == 0 else LAST_BIT
    equal = np.isclose(decoded, predicted, rtol=tolerance, atol=0.0).all(axis=1)
    if not equal.all():
        step = int(np.flatnonzero(~equal)[0])
        raise ExportError(
            f"in {np.count_nonzero(~equal)} of {len(equal)} steps the integer decoder gives "
            f"another velocity than the decoder, first in step {step}: {decoded[step].tolist()} "
            f"and {predicted[step].tolist()}; were both made from this checkpoint?"
        )
