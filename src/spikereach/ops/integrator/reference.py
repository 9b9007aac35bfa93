"""The integrators over time in plain PyTorch."""

import torch
from torch import Tensor

from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.current_lif.step import (
    CurrentParameters,
    CurrentState,
    current_integrator_step,
)


def current_integrator(
    currents: Tensor,
    parameters: CurrentParameters,
    state: CurrentState,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, CurrentState]:
    membranes = []
    for current in currents:
        state = current_integrator_step(state, parameters, fixed_point=fixed_point)
        state = state._replace(arriving=current)
        membranes.append(state.v)
    return torch.stack(membranes), state


def integrator(
    currents: Tensor,
    decay: Tensor | float,
    membrane: Tensor,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, Tensor]:
    membranes = []
    for current in currents:
        membrane = decay * membrane + current
        if fixed_point is not None:
            membrane = quantise(membrane, *fixed_point)
        membranes.append(membrane)
    return torch.stack(membranes), membrane
