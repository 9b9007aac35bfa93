"""Neurons over time: one function per neuron, each with interchangeable backends.

``reference`` is plain PyTorch, one readable step function per time step, on any device and
type. Shapes: ``T`` steps, ``B`` streams, ``N`` units.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spikereach.neurons.current_lif import (
    CurrentParameters,
    CurrentState,
    current_integrator_step,
    current_lif_step,
)
from spikereach.neurons.dropout import Dropout
from spikereach.neurons.lif import LIFParameters, LIFState, Reset, lif_step
from spikereach.neurons.surrogates import Surrogate


def scan_lif(
    currents: Tensor,
    recurrent: Tensor | None,
    parameters: LIFParameters,
    state: LIFState,
    *,
    surrogate: Surrogate,
    reset: Reset = "subtract",
    fixed_point: tuple[int, int] | None = None,
) -> tuple[Tensor, LIFState]:
    """Run :func:`~spikereach.neurons.lif.lif_step` over time.

    Args:
        currents: inputs already multiplied by the input matrix, (T, B, N).
        recurrent: weight (N, N) from the spikes of the last step (row: receiving unit), or None.
        parameters: decay and threshold.
        state: before the first step.
        surrogate: gradient of the spikes.
        reset: as for one step.
        fixed_point: as for one step.
    Returns:
        spikes (T, B, N) and the state after the last step.
    """
    spikes = []
    for current in currents:
        if recurrent is not None:
            current = current + F.linear(state.z, recurrent)
        state = lif_step(
            current, state, parameters, surrogate=surrogate, reset=reset, fixed_point=fixed_point
        )
        spikes.append(state.z)
    return torch.stack(spikes), state


def scan_current_lif(
    currents: Tensor,
    recurrent: Tensor,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    surrogate: Surrogate,
    dropout: Dropout | None = None,
) -> tuple[Tensor, CurrentState]:
    """Run :func:`~spikereach.neurons.current_lif.current_lif_step` over time.

    Args:
        currents: inputs already multiplied by the input matrix, (T, B, N).
        recurrent: weight (N, N) from the spikes (row: receiving unit).
        parameters: decays.
        state: before the first step.
        surrogate: gradient of the spikes.
        dropout: of the spikes on the recurrent connection, (T, B, N).
    Returns:
        spikes (T, B, N), before dropout, and the state after the last step.
    """
    spikes = []
    for step, current in enumerate(currents):
        z, state = current_lif_step(state, parameters, surrogate=surrogate)
        sent = z if dropout is None else Dropout(dropout.keep[step], dropout.scale)(z)
        state = state._replace(arriving=current + F.linear(sent, recurrent))
        spikes.append(z)
    return torch.stack(spikes), state


def scan_current_integrator(
    currents: Tensor, parameters: CurrentParameters, state: CurrentState
) -> tuple[Tensor, CurrentState]:
    """Run :func:`~spikereach.neurons.current_lif.current_integrator_step` over time.

    Returns:
        membranes ``v`` (T, B, N) and the state after the last step.
    """
    membranes = []
    for current in currents:
        state = current_integrator_step(state, parameters)._replace(arriving=current)
        membranes.append(state.v)
    return torch.stack(membranes), state


def scan_integrator(
    currents: Tensor, decay: Tensor | float, membrane: Tensor
) -> tuple[Tensor, Tensor]:
    """Leaky integrator ``v <- decay v + I`` over time.

    Args:
        currents: ``I``, (T, B, N).
        decay: scalar or (N,).
        membrane: ``v`` before the first step, (B, N).
    Returns:
        ``v`` of every step (T, B, N) and of the last (B, N).
    """
    membranes = []
    for current in currents:
        membrane = decay * membrane + current
        membranes.append(membrane)
    return torch.stack(membranes), membrane
