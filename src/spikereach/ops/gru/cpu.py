"""The GRU over time in compiled loops, without gradients."""

import numpy as np
from torch.nn.functional import linear

from spikereach.ops.common import cpu
from spikereach.ops.common.chunks import Chunks
from spikereach.ops.common.loops import ONE, compiled, receive, store


def gru(inputs, cell, hidden, *, buffer_format):
    """As `scan_gru`."""
    states = hidden.new_empty(len(inputs), *hidden.shape)
    arguments = (
        cpu.matrix(linear(inputs, cell.weight_ih, cell.bias_ih)),
        cpu.matrix(cell.weight_hh.T),
        cpu.matrix(cell.bias_hh),
        cpu.grid(buffer_format),
        cpu.matrix(hidden),
        states.numpy(),
    )
    Chunks(len(hidden), 1).run(lambda _, start, stop: _scan(*arguments, (start, stop)))
    return states


@compiled
def _scan(given, weight_t, bias, grid, first, states, streams):
    """Fill the states; gates and candidate lie as PyTorch has them: reset, update, candidate."""
    units = first.shape[1]
    recalled = np.empty(3 * units, np.float32)
    gates = np.empty(2 * units, np.float32)
    h = np.empty(units, np.float32)
    for n in range(streams[0], streams[1]):
        h[:] = first[n]
        for t in range(len(given)):
            receive(h, weight_t, bias, recalled)
            for e in range(2 * units):
                gates[e] = ONE / (ONE + np.exp(-given[t, n, e] - recalled[e]))
            for e in range(units):
                c = 2 * units + e
                candidate = np.tanh(given[t, n, c] + gates[e] * recalled[c])
                h[e] = candidate + gates[units + e] * (h[e] - candidate)
            store(h, grid)
            states[t, n] = h
