"""Current-based leaky integrate-and-fire neuron of Liu et al. 2024 (the stork library's)."""

from typing import NamedTuple

from torch import Tensor, nn

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
    state: CurrentState, parameters: CurrentParameters, *, surrogate: Surrogate
) -> tuple[Tensor, CurrentState]:
    """One step, all from the last step's values; the reset is not differentiated.

    ``z = [v > 1]``, ``v <- (d_mem v + (1 - d_mem) i) (1 - z)``, ``i <- d_syn i + arriving``.

    Returns:
        spikes ``z`` (B, N), and the state, in which ``arriving`` is still to be replaced by
        this step's input: ``W x + R z``.
    """
    z = spike(state.v - 1, surrogate)
    v = (parameters.mem * state.v + (1 - parameters.mem) * state.i) * (1 - z.detach())
    return z, CurrentState(v, parameters.syn * state.i + state.arriving, state.arriving)


def current_integrator_step(state: CurrentState, parameters: CurrentParameters) -> CurrentState:
    """One step of the read-out: the neuron above without spikes and reset.

    ``v <- d_mem v + (1 - d_mem) i``, ``i <- d_syn i + arriving``. As above, ``arriving`` is
    still to be replaced.
    """
    v = parameters.mem * state.v + (1 - parameters.mem) * state.i
    return CurrentState(v, parameters.syn * state.i + state.arriving, state.arriving)
