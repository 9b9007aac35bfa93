"""Leaky integrate-and-fire neuron with a delta synapse: Bellec's and snnTorch's ``Leaky``."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.common.surrogates import Surrogate, spike

Reset = Literal["subtract", "zero", "zero_and_input", "none"]
"""What a spike does to the next step: take the threshold off, set v to zero before the step's
input is added, set v to zero and drop that input too, or nothing."""

RESETS: dict[Reset, int] = {"subtract": 0, "zero": 1, "zero_and_input": 1, "none": 2}
"""snnTorch's codes; it has one for both resets to zero, which differ between its versions."""


def known_reset(reset: str) -> Reset:
    """The reset, if it is one.

    Raises:
        ValueError: it is not; names those that are.
    """
    if reset not in RESETS:
        raise ValueError(f"unknown reset {reset!r}; known: {', '.join(RESETS)}")
    return reset


class LIFParameters(NamedTuple):
    """``decay`` (often alpha or beta) per step and ``threshold``: scalars or one per unit."""

    decay: Tensor | float
    threshold: Tensor | float = 1.0


class LIFState(NamedTuple):
    """Membrane ``v`` and last spikes ``z``, each (B, N)."""

    v: Tensor
    z: Tensor


def silent(currents: Tensor) -> LIFState:
    """State of neurons at rest that will receive these currents (T, B, N)."""
    kind = torch.promote_types(currents.dtype, torch.float32)
    zeros = torch.zeros_like(currents[0], dtype=kind)
    return LIFState(zeros, zeros)


def lif_step(
    current: Tensor,
    state: LIFState,
    parameters: LIFParameters,
    *,
    surrogate: Surrogate,
    reset: Reset = "subtract",
    fixed_point: tuple[int, int] | None = None,
) -> LIFState:
    """One step; the reset is not differentiated.

    ======================= ==================================
    reset                   membrane
    ======================= ==================================
    ``subtract``            ``v <- decay v + I - z v_th``
    ``zero``                ``v <- decay v (1 - z) + I``
    ``zero_and_input``      ``v <- (decay v + I) (1 - z)``
    ``none``                ``v <- decay v + I``
    ======================= ==================================

    with the spikes ``z`` of the last step, then ``z <- [v > v_th]``.

    ``subtract`` is the neuron of Bellec et al. 2020 (equation 6 of their methods, with the
    recurrent input already in ``I``) and snnTorch's default; ``zero`` is snnTorch's from
    version 0.8.1 on, ``zero_and_input`` its rule up to 0.7.0.

    Args:
        current: total input ``I``, (B, N).
        state: of the last step.
        parameters: decay and threshold.
        surrogate: gradient of the spikes.
        reset: see above.
        fixed_point: integer and fractional bits in which ``v`` is stored; None: as computed.
    """
    v, z = state[0], state[1].detach()
    decay, threshold = parameters
    if known_reset(reset) == "subtract":
        v = decay * v + current - z * threshold
    elif reset == "zero":
        v = decay * (v * (1 - z)) + current
    elif reset == "zero_and_input":
        v = (decay * v + current) * (1 - z)
    else:
        v = decay * v + current
    if fixed_point is not None:
        v = quantise(v, *fixed_point)
    return LIFState(v, spike(v - threshold, surrogate))
