"""The scans over time in plain PyTorch, one step function per time step."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from spikereach.neurons.current_lif import (
    CurrentParameters,
    CurrentState,
    CurrentWeights,
    current_integrator_step,
    current_lif_step,
)
from spikereach.neurons.dropout import Dropout
from spikereach.neurons.lif import LIFParameters, LIFState, Reset, lif_step
from spikereach.neurons.surrogates import Surrogate


def lif(
    currents: Tensor,
    recurrent: Tensor | None,
    parameters: LIFParameters,
    state: LIFState,
    *,
    surrogate: Surrogate,
    reset: Reset,
    fixed_point: tuple[int, int] | None,
) -> tuple[Tensor, LIFState]:
    spikes = []
    for current in currents:
        if recurrent is not None:
            current = current + F.linear(state.z, recurrent)
        state = lif_step(
            current, state, parameters, surrogate=surrogate, reset=reset, fixed_point=fixed_point
        )
        spikes.append(state.z)
    return torch.stack(spikes), state


def current_lif(
    x: Tensor,
    weights: CurrentWeights,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    surrogate: Surrogate,
    dropout: tuple[Dropout | None, Dropout | None],
) -> tuple[Tensor, Tensor, CurrentState]:
    x, (received, sent) = x.to(weights.input.dtype), dropout
    currents = F.linear(x if received is None else received(x), weights.input)
    kept = itertools.repeat(1.0) if sent is None else sent.keep * sent.scale
    spikes, sending = [], []
    for current, factor in zip(currents, kept, strict=False):
        z, state = current_lif_step(state, parameters, surrogate=surrogate)
        sending.append(z * factor)
        state = state._replace(arriving=current + F.linear(sending[-1], weights.recurrent))
        spikes.append(z)
    return torch.stack(spikes), F.linear(torch.stack(sending), weights.output), state


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
