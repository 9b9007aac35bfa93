"""The GRU over time in compiled loops, without gradients."""

import numpy as np

from spikereach.ops.common import cpu
from spikereach.ops.common.chunks import Chunks
from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.fixed_point import bits_of
from spikereach.ops.common.loops import NIL, receive, store
from spikereach.ops.lif.cpu import rule_of, step


def spiking_gru(currents, layers, parameters, hidden, *, surrogate, buffer_format):
    """As `scan_spiking_gru`."""
    steps, streams, _ = currents.shape
    units = hidden.shape[1]
    outputs = [currents.new_empty(steps, streams, size) for size in (units, 3 * units)]
    fixed_point = bits_of(buffer_format)
    arguments = (
        cpu.matrix(currents),
        tuple(cpu.matrix(layer.weight.float().T) for layer in (layers.gates, layers.candidate)),
        np.full(3 * units, float(parameters.decay), np.float32),
        rule_of(parameters.threshold, "subtract", fixed_point),
        cpu.grid(buffer_format),
        cpu.matrix(hidden),
        tuple(each.numpy() for each in outputs),
    )
    Chunks(streams, 1).run(lambda _, start, stop: _scan(*arguments, (start, stop)))
    return tuple(outputs)


@compiled
def _scan(currents, weights_t, decay, rule, grid, first, outputs, streams):
    (gates_t, candidate_t), (hidden, spikes) = weights_t, outputs
    units = first.shape[1]
    both = 2 * units
    total = np.empty(3 * units, np.float32)
    v = np.empty(3 * units, np.float32)
    z = np.empty(3 * units, np.float32)
    h = np.empty(units, np.float32)
    kept = np.empty(units, np.float32)
    scratch = np.empty(both, np.float32)
    # views that are not made anew at every step
    to_gates, to_candidate, v_gates, v_candidate = total[:both], total[both:], v[:both], v[both:]
    fired, new, rest = z[:both], z[both:], scratch[:units]
    decay_gates, decay_candidate = decay[:both], decay[both:]
    for n in range(streams[0], streams[1]):
        v[:], z[:], h[:] = NIL, NIL, first[n]
        for t in range(len(currents)):
            receive(h, gates_t, currents[t, n, :both], to_gates)
            step(to_gates, v_gates, fired, decay_gates, rule, scratch)
            for e in range(units):
                kept[e] = h[e] - z[e] * h[e]
            receive(kept, candidate_t, currents[t, n, both:], to_candidate)
            step(to_candidate, v_candidate, new, decay_candidate, rule, rest)
            for e in range(units):
                h[e] = new[e] if z[units + e] > NIL else h[e]
            store(h, grid)
            hidden[t, n], spikes[t, n] = h, z
