"""The integrators over time in plain PyTorch."""

import torch
from torch import Tensor

from spikereach.ops.current_lif.step import (
    CurrentParameters,
    CurrentState,
    current_integrator_step,
)


def current_integrator(
    currents: Tensor, parameters: CurrentParameters, state: CurrentState
) -> tuple[Tensor, CurrentState]:
    membranes = []
    for current in currents:
        state = current_integrator_step(state, parameters)._replace(arriving=current)
        membranes.append(state.v)
    return torch.stack(membranes), state


def integrator(currents: Tensor, decay: Tensor | float, membrane: Tensor) -> tuple[Tensor, Tensor]:
    membranes = []
    for current in currents:
        membrane = decay * membrane + current
        membranes.append(membrane)
    return torch.stack(membranes), membrane
