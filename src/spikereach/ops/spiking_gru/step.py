r"""A GRU whose every non-linearity is a layer of LIF neurons (Vasilache et al. 2024).

.. math:: r, z = \mathrm{LIF}(I_{rz} + U_{rz} h), \quad
          n = \mathrm{LIF}(I_n + U_n ((1 - r) h)), \quad h \leftarrow (1 - z) h + z n
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikereach.ops.common.fixed_point import Format, bits_of, stored
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import Surrogate
from spikereach.ops.lif.step import LIFParameters, LIFState, lif_step


class GRULayers(NamedTuple):
    """Linear layers of the hidden state, without biases, and what shows spikes to hooks."""

    gates: nn.Module
    r""":math:`U_{rz}`, H -> 2 H"""
    candidate: nn.Module
    r""":math:`U_n`, H -> H"""
    spikes: Spikes


class GRUState(NamedTuple):
    gates: LIFState
    """(N, 2 H)"""
    candidate: LIFState
    """(N, H)"""
    hidden: Tensor
    """(N, H)"""


def spiking_gru_step(
    current: Tensor,
    state: GRUState,
    layers: GRULayers,
    parameters: LIFParameters,
    *,
    surrogate: Surrogate,
    buffer_format: Format,
) -> tuple[Tensor, GRUState]:
    """One step: spikes of both gates and of the candidate (N, 3 H), and the new state.

    Args:
        current: inputs of reset gate, update gate and candidate, (N, 3 H).
        state: of the last step.
        layers: see there.
        parameters: of all neurons.
        surrogate: gradient of the spikes.
        buffer_format: in which the hidden state is stored; membranes, too, if in fixed point.
    """
    fixed_point = bits_of(buffer_format)
    rules = {"surrogate": surrogate, "fixed_point": fixed_point}
    hidden, units = state.hidden, state.hidden.shape[1]
    to_gates, to_candidate = current.split([2 * units, units], dim=1)
    total = to_gates + layers.gates(hidden)
    gates = lif_step(total, state.gates, parameters, **rules)
    fired = layers.spikes(gates.z)
    reset, update = fired.chunk(2, dim=1)
    total = to_candidate + layers.candidate(hidden - reset * hidden)
    candidate = lif_step(total, state.candidate, parameters, **rules)
    new = layers.spikes(candidate.z)
    hidden = stored(torch.lerp(hidden, new, update), buffer_format)
    return torch.cat([fired, new], dim=1), GRUState(gates, candidate, hidden)
