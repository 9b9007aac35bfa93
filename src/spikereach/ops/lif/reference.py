"""The neuron over time in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikereach.ops.common.surrogates import Surrogate
from spikereach.ops.lif.step import LIFParameters, LIFState, Reset, lif_step


def lif(
    currents: Tensor,
    recurrent: nn.Module | None,
    parameters: LIFParameters,
    state: LIFState | None,
    *,
    surrogate: Surrogate,
    reset: Reset,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, LIFState]:
    arrives = recurrent is not None and state is not None
    if state is None:
        zeros = torch.zeros_like(currents[0])
        state = LIFState(zeros, zeros)
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
