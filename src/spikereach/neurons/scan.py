"""Neurons over time: one function per neuron, each with interchangeable backends.

============= ===================================================================
backend       runs
============= ===================================================================
``reference`` plain PyTorch, one readable step per time step; any device and type
``cpu``       compiled loops, event-driven; float32 weights on the CPU
``cuda``      fused Triton kernels, the loop over time inside, the weights in registers;
              float32 on CUDA, bfloat16 currents of automatic mixed precision too. With more
              than 128 recurrent units, :func:`scan_lif` has no place for the weights, and
              :func:`scan_current_lif` has a loop of matrix products and fused steps
============= ===================================================================

Without a choice the fastest that fits is taken. Shapes: ``T`` steps, ``B`` streams, ``N``
units.
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

from torch import Tensor

from spikereach.neurons import cpu, cuda, reference
from spikereach.neurons.current_lif import CurrentParameters, CurrentState, CurrentWeights
from spikereach.neurons.dropout import Dropout
from spikereach.neurons.lif import LIFParameters, LIFState, Reset
from spikereach.neurons.surrogates import Surrogate

Backend = Literal["reference", "cpu", "cuda"]

_BACKENDS: dict[str, ModuleType] = {"reference": reference, "cpu": cpu, "cuda": cuda}


def _backend(
    choice: Backend | None, *tensors: Tensor | float | None, recurrent: Tensor | None = None
) -> ModuleType:
    if choice is not None:
        return _BACKENDS[choice]
    if cpu.fits(*tensors, recurrent):
        return cpu
    return cuda if cuda.fits(*tensors, recurrent=recurrent) else reference


def scan_lif(
    currents: Tensor,
    recurrent: Tensor | None,
    parameters: LIFParameters,
    state: LIFState,
    *,
    surrogate: Surrogate,
    reset: Reset = "subtract",
    fixed_point: tuple[int, int] | None = None,
    backend: Backend | None = None,
) -> tuple[Tensor, LIFState]:
    """Run :func:`~spikereach.neurons.lif.lif_step` over time.

    Args:
        currents: inputs already multiplied by the input matrix, (T, B, N).
        recurrent: weight (N, N) from the spikes of the last step (row: receiving unit), or None.
        parameters: decay and threshold; a threshold to be learned needs ``reference``.
        state: before the first step.
        surrogate: gradient of the spikes.
        reset: as for one step.
        fixed_point: as for one step.
        backend: see above.
    Returns:
        spikes (T, B, N) and the state after the last step.
    """
    chosen = _backend(backend, currents, parameters.decay, *state, recurrent=recurrent)
    if backend is None and isinstance(parameters.threshold, Tensor):
        learned = parameters.threshold.requires_grad or parameters.threshold.numel() > 1
        chosen = reference if learned else chosen
    return chosen.lif(
        currents,
        recurrent,
        parameters,
        state,
        surrogate=surrogate,
        reset=reset,
        fixed_point=fixed_point,
    )


def scan_current_lif(
    x: Tensor,
    weights: CurrentWeights,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    surrogate: Surrogate,
    dropout: tuple[Dropout | None, Dropout | None] = (None, None),
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor, CurrentState]:
    """Run :func:`~spikereach.neurons.current_lif.current_lif_step` over time.

    Args:
        x: inputs, mostly zeros (T, B, C), of any type; bytes are fastest. Not differentiated.
        weights: of inputs, recurrence and outputs.
        parameters: decays.
        state: before the first step.
        surrogate: gradient of the spikes.
        dropout: of the inputs (T, B, C), and of the spikes on all their ways (T, B, N).
        backend: see above.
    Returns:
        spikes (T, B, N), before dropout; what they send to the outputs (T, B, O); and the
        state after the last step.
    """
    chosen = _backend(backend, *weights, *parameters, *state)
    return chosen.current_lif(x, weights, parameters, state, surrogate=surrogate, dropout=dropout)


def scan_current_integrator(
    currents: Tensor,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    backend: Backend | None = None,
) -> tuple[Tensor, CurrentState]:
    """Run :func:`~spikereach.neurons.current_lif.current_integrator_step` over time.

    Args:
        currents: inputs already multiplied by the input matrix, (T, B, N).
        parameters: decays.
        state: before the first step.
        backend: see above.
    Returns:
        membranes ``v`` (T, B, N) and the state after the last step.
    """
    chosen = _backend(backend, currents, *parameters, *state)
    return chosen.current_integrator(currents, parameters, state)


def scan_integrator(
    currents: Tensor,
    decay: Tensor | float,
    membrane: Tensor,
    *,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor]:
    """Leaky integrator ``v <- decay v + I`` over time.

    Args:
        currents: ``I``, (T, B, N).
        decay: scalar or (N,).
        membrane: ``v`` before the first step, (B, N).
        backend: see above.
    Returns:
        ``v`` of every step (T, B, N) and of the last (B, N).
    """
    return _backend(backend, currents, decay, membrane).integrator(currents, decay, membrane)
