"""The neuron over time in plain PyTorch."""

import torch

from spikereach.ops.lif.step import lif_step, silent


def lif(currents, recurrent, parameters, state, *, surrogate, reset, fixed_point):
    """As `scan_lif`."""
    arrives = recurrent is not None and state is not None
    state = silent(currents) if state is None else state
    spikes = []
    for current in currents:
        if arrives:
            current = current + recurrent(state.z)
        state = lif_step(
            current, state, parameters, surrogate=surrogate, reset=reset, fixed_point=fixed_point
        )
        spikes.append(state.z)
        arrives = recurrent is not None
    return torch.stack(spikes), state
