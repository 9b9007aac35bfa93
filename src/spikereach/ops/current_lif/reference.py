"""The neuron over time in plain PyTorch."""

import itertools

import torch

from spikereach.ops.current_lif.step import (
    current_lif_step,
)


def current_lif(x, layers, parameters, state, *, surrogate, dropout, fixed_point):
    """As `scan_current_lif`."""
    x, (received, sent) = x.to(layers.input.weight.dtype), dropout
    currents = layers.input(x if received is None else received(x))
    rules = {"surrogate": surrogate, "fixed_point": fixed_point}
    kept = itertools.repeat(1.0) if sent is None else sent.keep * sent.scale
    spikes, sending = [], []
    for current, factor in zip(currents, kept, strict=False):
        z, state = current_lif_step(state, parameters, **rules)
        sending.append(z * factor)
        state = state._replace(arriving=current + layers.recurrent(sending[-1]))
        spikes.append(z)
    return torch.stack(spikes), layers.output(torch.stack(sending)), state
