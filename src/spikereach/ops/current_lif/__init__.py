"""Current-based leaky integrate-and-fire neurons over time."""

from torch import Tensor

from spikereach.ops.common.backends import Backend, choose
from spikereach.ops.common.dropout import Dropout
from spikereach.ops.common.precision import without_autocast
from spikereach.ops.common.record import note_call
from spikereach.ops.common.surrogates import Surrogate
from spikereach.ops.current_lif import reference
from spikereach.ops.current_lif.step import (
    CurrentLayers,
    CurrentParameters,
    CurrentState,
    current_lif_step,
)

__all__ = [
    "CurrentLayers",
    "CurrentParameters",
    "CurrentState",
    "current_lif_step",
    "scan_current_lif",
]


def scan_current_lif(
    x: Tensor,
    layers: CurrentLayers,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    surrogate: Surrogate,
    dropout: tuple[Dropout | None, Dropout | None] = (None, None),
    fixed_point: tuple[int, int] | None = None,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor, CurrentState]:
    """Run :func:`~spikereach.ops.current_lif.step.current_lif_step` over time.

    Args:
        x: inputs, mostly zeros (T, B, C), of any type; bytes are fastest. Not differentiated.
        layers: of inputs, recurrence and outputs, without biases.
        parameters: decays.
        state: before the first step.
        surrogate: gradient of the spikes.
        dropout: of the inputs (T, B, C), and of the spikes on all their ways (T, B, N).
        fixed_point: as for one step; no Triton kernel has it.
        backend: see `spikereach.ops`.
    Returns:
        spikes (T, B, N), before dropout; what they send to the outputs (T, B, O); and the
        state after the last step.
    """
    cuda = fixed_point is None
    chosen = choose(__name__, backend, *layers.weights, *parameters, *state, cuda=cuda)
    rules = {"surrogate": surrogate, "dropout": dropout, "fixed_point": fixed_point}
    with without_autocast(x):
        z, out, last = chosen.current_lif(x, layers, parameters, state, **rules)
    if chosen is not reference:
        for layer, received in zip(layers, (x, z, z), strict=True):
            note_call(layer, received)
    return z, out, last
