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
    state: LIFState,
    *,
    silent: bool,
    surrogate: Surrogate,
    reset: Reset,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, LIFState]:
    """As `ops.lif.scan_lif`; ``silent``: nothing arrives at the first step."""
    spikes = []
    for current in currents:
        if recurrent is not None and (spikes or not silent):
            current = current + recurrent(state.z)
        state = lif_step(
            current, state, parameters, surrogate=surrogate, reset=reset, fixed_point=fixed_point
        )
        spikes.append(state.z)
    return torch.stack(spikes), state
