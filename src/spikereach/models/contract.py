"""Whether a decoder keeps to the protocol, found out before it is trained for hours."""

from typing import Any

import torch
from torch import Tensor

from spikereach.models.decoder import BufferSize, Decoder, device_of
from spikereach.ops.common.record import recording

KINDS = ("input", "buffer", "state")


class ContractError(ValueError):
    """A decoder does not do what `Decoder` says: names class, method, what came, what should."""


def check(decoder: Decoder) -> None:
    """Run a decoder on random spikes and look at all that it returns.

    Two calls of all steps that its first prediction needs, then one of a single step, each with
    the state of the last. Weights, statistics of batch norms and random numbers stay as they are.

    Args:
        decoder: trained or not; its mode is kept.
    Raises:
        ContractError: a method is missing, an output has the wrong type or shape, or no layer
            with weights is seen to be called.
    """
    name = type(decoder).__name__
    for method in ("forward", "buffer_sizes"):
        if getattr(type(decoder), method) is getattr(Decoder, method):
            raise ContractError(
                f"{name} has no {method}(): write it as {Decoder.__module__}.Decoder describes"
            )
    sizes = decoder.buffer_sizes()
    if not isinstance(sizes, list) or not all(isinstance(size, BufferSize) for size in sizes):
        raise ContractError(
            f"{name}.buffer_sizes() returned {sizes!r}: expected a list of BufferSize"
        )
    for size in sizes:
        if size.kind not in KINDS:
            raise ContractError(
                f"{name}.buffer_sizes(): {size.layer} has the kind {size.kind!r}: expected one of "
                f"{', '.join(KINDS)}"
            )
    steps, training, state = decoder.timing.settled, decoder.training, None
    decoder.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng([]), recording(decoder) as record:
            for length in (steps, steps, 1):
                # Streams neither 1 nor 2, so that no axis is taken for another; spikes at 12.5 Hz.
                shape = (length, 3, decoder.channels)
                drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0))
                inputs = (drawn < 0.05).to(device_of(decoder), torch.float32)
                state = _check_output(decoder(inputs, state), shape, name)
    finally:
        decoder.train(training)
    if not record.calls:
        raise ContractError(
            f"{name}.forward() called no layer with weights, so that its operations cannot be "
            "counted: set layers (Linear, Conv1d, GRUCell, ...) as attributes in the constructor "
            "and call them as modules"
        )


def _check_output(output: Any, shape: tuple[int, int, int], name: str) -> Any:
    """The state, after a look at the velocity."""
    if not isinstance(output, tuple) or len(output) != 2:
        raise ContractError(
            f"{name}.forward() returned {_kind(output)}: expected two values, velocity and state"
        )
    velocity, state = output
    expected = (*shape[:2], 2)
    if not isinstance(velocity, Tensor) or velocity.shape != expected:
        raise ContractError(
            f"{name}.forward() returned as velocity {_kind(velocity)} for spikes of shape {shape} "
            f"(steps, streams, channels): expected a tensor of shape {expected}"
        )
    return state


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple) else "")
