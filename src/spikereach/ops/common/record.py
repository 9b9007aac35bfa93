"""What a forward pass did, for regularisers and for counting operations.

Hooks note the calls of layers and what passes activations. What a fused operation hides from
hooks, it notes itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor, nn

from spikereach.ops.common.spikes import Spikes

CONNECTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNCellBase)
"""Layers whose operations NeuroBench counts."""

ACTIVATIONS = (Spikes, nn.ReLU, nn.Sigmoid)
"""Modules whose outputs NeuroBench counts, once it is told of the first."""


@dataclass(frozen=True)
class LayerCalls:
    """Inputs that one connection layer (Linear, Conv1d, GRUCell, ...) received.

    ``inputs`` are the positional arguments of its calls, stacked: axis 0 counts the calls
    that NeuroBench would see, the other axes are those of a single call.
    """

    layer: nn.Module
    inputs: tuple[Tensor, ...]


@dataclass
class Record:
    """What one forward pass did."""

    spikes: dict[str, Tensor] = field(default_factory=dict)
    """Hidden spikes by layer name, (steps, B, units); differentiable in training."""
    activations: list[Tensor] = field(default_factory=list)
    """Outputs of every activation that NeuroBench counts, in evaluation mode."""
    calls: list[LayerCalls] = field(default_factory=list)
    """Connection-layer inputs, in evaluation mode; a layer may occur more than once."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Further scalar loss terms of the decoder itself (AEGRU's reconstruction)."""


_ACTIVE: ContextVar[Record | None] = ContextVar("record", default=None)


def active() -> Record | None:
    """The record under way, if there is one."""
    return _ACTIVE.get()


def note_call(layer: nn.Module, *inputs: Tensor) -> None:
    """Note calls of a layer that no hook sees; axis 0 of the inputs counts the calls."""
    if noted(layer):
        _ACTIVE.get().calls.append(LayerCalls(layer, inputs))


def noted(layer: nn.Module) -> bool:
    """Whether :func:`note_call` keeps calls of this layer, so that inputs are worth making."""
    return _ACTIVE.get() is not None and not layer.training


def note_spikes(name: str, spikes: Tensor) -> None:
    """Note hidden spikes (steps, B, units) for regularisers."""
    if (record := _ACTIVE.get()) is not None:
        record.spikes[name] = spikes


@contextmanager
def recording(module: nn.Module) -> Iterator[Record]:
    """Record what calls of a module do within.

    Layers and activations are noted in evaluation mode only: in training they would hold memory.
    """
    record = Record()

    def call(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        record.calls.append(LayerCalls(layer, tuple([each[None] for each in inputs])))

    def activation(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record.activations.append(output)

    handles = []
    for each in module.modules():
        if each.training:
            continue
        if isinstance(each, CONNECTIONS):
            handles.append(each.register_forward_pre_hook(call))
        elif isinstance(each, ACTIVATIONS):
            handles.append(each.register_forward_hook(activation))
    token = _ACTIVE.set(record)
    try:
        yield record
    finally:
        _ACTIVE.reset(token)
        for handle in handles:
            handle.remove()
