"""Leaky integrators over time, the read-outs of spiking nets."""

from torch import Tensor

from spikereach.ops.common.backends import Backend, choose
from spikereach.ops.common.precision import without_autocast
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState


def scan_current_integrator(
    currents: Tensor,
    parameters: CurrentParameters,
    state: CurrentState,
    *,
    fixed_point: tuple[int, int] | None = None,
    backend: Backend | None = None,
) -> tuple[Tensor, CurrentState]:
    """Run :func:`~spikereach.ops.current_lif.step.current_integrator_step` over time.

    Args:
        currents: inputs already multiplied by the input matrix, (T, B, N).
        parameters: decays.
        state: before the first step.
        fixed_point: as for one step; no Triton kernel has it.
        backend: see `spikereach.ops`.
    Returns:
        membranes ``v`` (T, B, N) and the state after the last step.
    """
    cuda = fixed_point is None
    chosen = choose(__name__, backend, currents, *parameters, *state, cuda=cuda)
    with without_autocast(currents):
        return chosen.current_integrator(currents, parameters, state, fixed_point)


def scan_integrator(
    currents: Tensor,
    decay: Tensor | float,
    membrane: Tensor,
    *,
    fixed_point: tuple[int, int] | None = None,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor]:
    """Leaky integrator ``v <- decay v + I`` over time.

    Args:
        currents: ``I``, (T, B, N).
        decay: scalar or (N,).
        membrane: ``v`` before the first step, (B, N).
        fixed_point: integer and fractional bits in which ``v`` is stored; None: as computed. No
            Triton kernel has it.
        backend: see `spikereach.ops`.
    Returns:
        ``v`` of every step (T, B, N) and of the last (B, N).
    """
    chosen = choose(__name__, backend, currents, decay, membrane, cuda=fixed_point is None)
    with without_autocast(currents):
        return chosen.integrator(currents, decay, membrane, fixed_point)
