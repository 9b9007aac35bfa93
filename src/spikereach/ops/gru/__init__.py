"""A GRU over time."""

import torch
from torch import Tensor, nn

from spikereach.ops.common.backends import Backend, choose
from spikereach.ops.common.fixed_point import Format
from spikereach.ops.common.precision import without_autocast
from spikereach.ops.common.record import note_call, noted
from spikereach.ops.gru import reference

__all__ = ["scan_gru"]


def scan_gru(
    inputs: Tensor,
    cell: nn.GRUCell,
    hidden: Tensor,
    *,
    buffer_format: Format = "float32",
    backend: Backend | None = None,
) -> Tensor:
    """Call a GRU cell for each step in turn.

    Args:
        inputs: (T, N, inputs), of the cell's type.
        cell: with biases.
        hidden: before the first step, (N, H).
        buffer_format: in which the hidden state is stored.
        backend: see `spikereach.ops`; only ``reference`` has gradients.
    Returns:
        hidden states after each step, (T, N, H).
    """
    if backend is None and torch.is_grad_enabled():
        backend = "reference"
    chosen = choose(__name__, backend, inputs, hidden)
    with without_autocast(inputs):
        states = chosen.gru(inputs, cell, hidden, buffer_format=buffer_format)
    if chosen is not reference and noted(cell):
        note_call(cell, inputs, torch.cat([hidden[None], states[:-1]]))
    return states
