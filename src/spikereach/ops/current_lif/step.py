"""Current-based leaky integrate-and-fire neuron of Liu et al. 2024 (the stork library's).

In fixed point ``v`` and ``i`` are rounded once per step, when they are stored
(`ops.common.fixed_point.quantise`). Let decays and weights have f fractional bits, and v and i m
integer and n fractional ones. Then float32 computes exactly if f + n + m <= 24: products with a
decay and sums are multiples of 2^-(f + n), of which float32 holds all up to 2^m. A larger sum may
be rounded, but not below 2^m, so that it saturates as the exact one does. ``arriving`` is a sum of
weights and stays on their grid; it is exact, in any order, below 2^(24 - f).
"""

from typing import NamedTuple

from torch import Tensor, nn

from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.common.surrogates import Surrogate, spike


class CurrentParameters(NamedTuple):
    """Decay per step of membrane and synapse, ``exp(-dt / tau)``, (N,) each."""

    mem: Tensor
    syn: Tensor


class CurrentLayers(NamedTuple):
    """Linear layers of C inputs, of the units' own spikes, and of O outputs."""

    input: nn.Module
    """C -> N"""
    recurrent: nn.Module
    """N -> N"""
    output: nn.Module
    """N -> O"""

    @property
    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row: receiver."""
        return self.input.weight, self.recurrent.weight, self.output.weight


class CurrentState(NamedTuple):
    """Membrane ``v``, synaptic current ``i``, and input on its way (it arrives one step later).

    Each (B, N).
    """

    v: Tensor
    i: Tensor
    arriving: Tensor


def current_lif_step(
    state: CurrentState,
    parameters: CurrentParameters,
    *,
    surrogate: Surrogate,
    fixed_point: tuple[int, int] | None = None,
) -> tuple[Tensor, CurrentState]:
    """One step, all from the last step's values; the reset is not differentiated.

    ``z = [v > 1]``, ``v <- (d_mem v + (1 - d_mem) i) (1 - z)``, ``i <- d_syn i + arriving``.

    Args:
        state: of the last step.
        parameters: decays.
        surrogate: gradient of the spikes.
        fixed_point: integer and fractional bits in which ``v`` and ``i`` are stored; None: as
            computed.
    Returns:
        spikes ``z`` (B, N), and the state, in which ``arriving`` is still to be replaced by
        this step's input: ``W x + R z``.
    """
    z = spike(state.v - 1, surrogate)
    v = (parameters.mem * state.v + (1 - parameters.mem) * state.i) * (1 - z.detach())
    i = parameters.syn * state.i + state.arriving
    return z, _stored(CurrentState(v, i, state.arriving), fixed_point)


def current_integrator_step(
    state: CurrentState,
    parameters: CurrentParameters,
    *,
    fixed_point: tuple[int, int] | None = None,
) -> CurrentState:
    """One step of the read-out: the neuron above without spikes and reset.

    ``v <- d_mem v + (1 - d_mem) i``, ``i <- d_syn i + arriving``. As above, ``arriving`` is
    still to be replaced.
    """
    v = parameters.mem * state.v + (1 - parameters.mem) * state.i
    i = parameters.syn * state.i + state.arriving
    return _stored(CurrentState(v, i, state.arriving), fixed_point)


def _stored(state: CurrentState, fixed_point: tuple[int, int] | None) -> CurrentState:
    if fixed_point is None:
        return state
    v, i = (quantise(values, *fixed_point) for values in (state.v, state.i))
    return CurrentState(v, i, state.arriving)
