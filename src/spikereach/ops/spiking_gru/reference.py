"""The GRU over time in plain PyTorch."""

import torch

from spikereach.ops.common.threads import few_elements
from spikereach.ops.lif.step import LIFParameters, LIFState
from spikereach.ops.spiking_gru.step import GRUState, spiking_gru_step


def spiking_gru(currents, layers, parameters, hidden, *, surrogate, buffer_format):
    """As `scan_spiking_gru`."""
    silent = hidden.new_zeros(len(hidden), 2 * hidden.shape[1]), torch.zeros_like(hidden)
    state = GRUState(*(LIFState(zeros, zeros) for zeros in silent), hidden)
    parameters = LIFParameters(*(hidden.new_full((), c) for c in parameters))  # made once
    rules = {"surrogate": surrogate, "buffer_format": buffer_format}
    outputs, spikes = [], []
    with few_elements(3 * hidden.numel()):
        for current in currents:
            fired, state = spiking_gru_step(current, state, layers, parameters, **rules)
            outputs.append(state.hidden)
            spikes.append(fired)
    return torch.stack(outputs), torch.stack(spikes)
