"""The recursion of a GRU of LIF neurons over all steps in one compiled pass, without gradients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from spikereach.ops.common import cpu
from spikereach.ops.common.chunks import Chunks
from spikereach.ops.common.kernels import NIL, compiled, fire, snap
from spikereach.ops.common.single import receive, store
from spikereach.ops.lif.step import LIFParameters


class Recursion(NamedTuple):
    """What happened at every step."""

    hidden: Tensor
    """(T, N, H), after the step"""
    remembered: Tensor
    """(T, N, H): what the candidate's neurons received of the hidden state before"""
    spikes: Tensor
    """(T, N, 3 H): of the reset gate, the update gate and the candidate"""


def scan_spiking_gru(
    currents: Tensor,
    gates: Tensor,
    candidate: Tensor,
    parameters: LIFParameters,
    hidden: Tensor,
    *,
    fixed_point: tuple[int, int] | None,
    stored: tuple[np.float32, np.float32, np.float32],
) -> Recursion:
    r"""Run from silent neurons, in float32 on the CPU:

    .. math:: r, z = \mathrm{LIF}(I_{rz} + U_{rz} h), \quad
              n = \mathrm{LIF}(I_n + U_n ((1 - r) h)), \quad h \leftarrow (1 - z) h + z n

    Args:
        currents: inputs of reset gate, update gate and candidate, (T, N, 3 H).
        gates: :math:`U_{rz}`, (2 H, H).
        candidate: :math:`U_n`, (H, H).
        parameters: of all neurons.
        hidden: before the first step, (N, H).
        fixed_point: bits in which membranes are stored.
        stored: grid, lowest and highest value of the hidden state, as `single.store` takes them.
    """
    steps, streams, _ = currents.shape
    units = hidden.shape[1]
    outputs = [currents.new_empty(steps, streams, size) for size in (units, units, 3 * units)]
    arguments = (
        *(values.contiguous().numpy() for values in (currents, gates.T, candidate.T)),
        np.float32(float(parameters.decay)),
        np.float32(float(parameters.threshold)),
        cpu.fixed_point_grid(fixed_point),
        stored,
        hidden.contiguous().numpy(),
        *(values.numpy() for values in outputs),
    )
    Chunks(streams, 1).run(lambda _, start, stop: _scan(*arguments, start, stop))
    return Recursion(*outputs)


@compiled
def _scan(
    currents, gates_t, candidate_t, decay, threshold, grid, stored, first,
    hidden, remembered, spikes, start, stop,
):  # fmt: skip
    units = first.shape[1]
    both = 2 * units
    total = np.empty(3 * units, np.float32)
    v = np.empty(3 * units, np.float32)
    z = np.empty(3 * units, np.float32)
    h = np.empty(units, np.float32)
    for n in range(start, stop):
        v[:], z[:], h[:] = NIL, NIL, first[n]
        for t in range(len(currents)):
            receive(h, gates_t, currents[t, n, :both], total[:both])
            _step(total[:both], v[:both], z[:both], decay, threshold, *grid)
            kept, new = remembered[t, n], z[both:]
            for e in range(units):
                kept[e] = h[e] - z[e] * h[e]
            receive(kept, candidate_t, currents[t, n, both:], total[both:])
            _step(total[both:], v[both:], new, decay, threshold, *grid)
            for e in range(units):
                h[e] = new[e] if z[units + e] > NIL else h[e]
            store(h, *stored)
            hidden[t, n], spikes[t, n] = h, z


@compiled
def _step(total, v, z, decay, threshold, grid, lowest, highest):
    """One step of LIF neurons, in place."""
    for e in range(len(v)):
        v[e] = decay * v[e] + total[e] - z[e] * threshold
    snap(v, grid, lowest, highest, v)
    fire(v, threshold, z)
