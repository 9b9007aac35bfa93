"""A GRU of LIF neurons over time."""

import torch
from torch import Tensor

from spikereach.ops.common.backends import Backend, choose
from spikereach.ops.common.fixed_point import Format
from spikereach.ops.common.precision import without_autocast
from spikereach.ops.common.record import active, note_call
from spikereach.ops.common.surrogates import Surrogate
from spikereach.ops.lif.step import LIFParameters
from spikereach.ops.spiking_gru import reference
from spikereach.ops.spiking_gru.step import GRULayers

__all__ = ["GRULayers", "scan_spiking_gru"]


def scan_spiking_gru(
    currents: Tensor,
    layers: GRULayers,
    parameters: LIFParameters,
    hidden: Tensor,
    *,
    surrogate: Surrogate,
    buffer_format: Format = "float32",
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor]:
    """Run :func:`~spikereach.ops.spiking_gru.step.spiking_gru_step` over time, from silent neurons.

    Args:
        currents: inputs of reset gate, update gate and candidate, (T, N, 3 H).
        layers: of the hidden state.
        parameters: of all neurons.
        hidden: before the first step, (N, H).
        surrogate: gradient of the spikes; only ``reference`` has gradients.
        buffer_format: as for one step.
        backend: see `spikereach.ops`.
    Returns:
        hidden states after each step (T, N, H), and spikes of reset gate, update gate and
        candidate (T, N, 3 H).
    """
    if backend is None and torch.is_grad_enabled():
        backend = "reference"
    chosen = choose(__name__, backend, currents, hidden)
    rules = {"surrogate": surrogate, "buffer_format": buffer_format}
    with without_autocast(currents):
        outputs, spikes = chosen.spiking_gru(currents, layers, parameters, hidden, **rules)
    if chosen is not reference:
        spikes = layers.spikes(spikes)
        if active() is not None:
            before = torch.cat([hidden[None], outputs[:-1]])
            note_call(layers.gates, before)
            note_call(layers.candidate, before - spikes.chunk(3, dim=2)[0] * before)
    return outputs, spikes
