"""The neuron bin by bin."""

import numpy as np
from torch import Tensor

from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.cpu import values
from spikereach.ops.common.loops import receive
from spikereach.ops.lif.cpu import forward, rule_of
from spikereach.ops.lif.step import LIFParameters, LIFState, Reset


class LIFStream:
    """Input weights, and :func:`~spikereach.ops.lif.scan_lif` of one stream."""

    def __init__(
        self,
        weight: Tensor,
        recurrent: Tensor | None,
        parameters: LIFParameters,
        state: LIFState,
        *,
        reset: Reset = "subtract",
        fixed_point: tuple[int, int] | None = None,
    ):
        units = state.v.shape[1]
        recurrent_t = np.empty((0, units), np.float32)
        if recurrent is not None:
            recurrent_t = values(recurrent.T)
        rows = np.zeros((6, 1, units), np.float32)
        for row, each in zip(rows, (*state, parameters.decay), strict=False):
            row[:] = each.detach().float() if isinstance(each, Tensor) else each
        self.z = rows[1, 0]
        rule = rule_of(parameters.threshold, reset, fixed_point)
        self.rest = values(weight.T), recurrent_t, rows, np.empty((1, 1, units), np.float32), rule

    def __call__(self, x: np.ndarray) -> np.ndarray:
        _step(x, *self.rest)
        return self.z


@compiled
def _step(x, input_t, recurrent_t, rows, kept, rule):
    """``rows`` (6, 1, N): v, z, decay, zeros, currents, spikes."""
    receive(x, input_t, rows[3, 0], rows[4, 0])
    state, span = (rows[0, 0], rows[1, 0]), (0, rows.shape[2])
    forward(rows[4], recurrent_t, (rows[2, 0],), (rule, None), span, state, rows[5], kept)
