"""Leaky integrate-and-fire neurons over time."""

import torch
from torch import Tensor, nn

from spikereach.ops.common.backends import Backend, choose
from spikereach.ops.common.precision import precise, without_autocast
from spikereach.ops.common.record import note_call, noted
from spikereach.ops.common.surrogates import Surrogate
from spikereach.ops.lif import reference
from spikereach.ops.lif.step import LIFParameters, LIFState, Reset, lif_step, silent

__all__ = ["LIFParameters", "LIFState", "Reset", "lif_step", "scan_lif"]


def scan_lif(
    currents: Tensor,
    recurrent: nn.Module | None,
    parameters: LIFParameters,
    state: LIFState | None,
    *,
    surrogate: Surrogate,
    reset: Reset = "subtract",
    fixed_point: tuple[int, int] | None = None,
    backend: Backend | None = None,
) -> tuple[Tensor, LIFState]:
    """Run :func:`~spikereach.ops.lif.step.lif_step` over time.

    Args:
        currents: inputs already multiplied by the input matrix, (T, B, N).
        recurrent: linear layer (N, N) from the spikes of the last step, or None.
        parameters: decay and threshold; a threshold to be learned needs ``reference``.
        state: before the first step. None: silent neurons, from which nothing arrives, so that
            the recurrent layer is not called for the first step.
        surrogate: gradient of the spikes.
        reset: as for one step.
        fixed_point: as for one step.
        backend: see `spikereach.ops`.
    Returns:
        spikes (T, B, N) and the state after the last step.
    """
    weight = None if recurrent is None else precise(recurrent.weight)
    if backend is None and isinstance(parameters.threshold, Tensor):
        learned = parameters.threshold.requires_grad or parameters.threshold.numel() > 1
        backend = "reference" if learned else None
    begun = silent(currents) if state is None else state
    chosen = choose(__name__, backend, currents, parameters.decay, *begun, recurrent=weight)
    rules = {"surrogate": surrogate, "reset": reset, "fixed_point": fixed_point}
    with without_autocast(currents):
        spikes, last = chosen.lif(currents, recurrent, parameters, state, **rules)
    if chosen is not reference and recurrent is not None and noted(recurrent):
        before = spikes[:-1] if state is None else torch.cat([state.z[None], spikes[:-1]])
        note_call(recurrent, before)
    return spikes, last
