"""What a decoder computes at each step, as elementary stages: what can be exported.

Spikes enter the first stage, each stage's output the next one, and the last one's output is the
velocity, standardised as trained. :class:`Convolution` and :class:`Keypoints` have no output at
some steps; later stages then wait. Numbers are those a deployed decoder stores, so that in fixed
point weights and constants lie on the grid of its weight format.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from spikereach.ops.common.fixed_point import Format
from spikereach.ops.lif.step import Reset


class NoStagesError(ValueError):
    """A decoder, or a layer of it, that does not say what it computes."""


@dataclass(frozen=True)
class Convolution:
    """Conv1d over the latest inputs, frames stored, then the maximum of every two frames.

    Begins with ``padding`` zeros as earlier inputs; the first frame comes with the
    ``kernel - padding``-th input.
    """

    name: str
    weight: Tensor
    """(frames' channels, inputs, kernel); the kernel's last value meets the latest input."""
    bias: Tensor
    """(frames' channels,)"""
    padding: int
    buffers: Format
    """In which each frame is stored before the maximum."""


@dataclass(frozen=True)
class Linear:
    """``W x + b``"""

    name: str
    weight: Tensor
    """(outputs, inputs)"""
    bias: Tensor | None = None


@dataclass(frozen=True)
class LIF:
    """Neurons of :func:`.lif_step`, at rest at first: spikes of what ``input`` and, from the
    last step's spikes, ``recurrent`` send."""

    name: str
    input: Linear
    recurrent: Linear | None
    decay: float
    threshold: float
    reset: Reset
    membranes: Format


@dataclass(frozen=True)
class CurrentLIF:
    """Neurons of :func:`.current_lif_step` with threshold 1, at rest at first."""

    name: str
    input: Linear
    recurrent: Linear
    mem: Tensor
    """(N,)"""
    syn: Tensor
    """(N,)"""
    membranes: Format
    """Of ``v`` and ``i``."""


@dataclass(frozen=True)
class Integrator:
    """``v <- decay v + x``, from zero."""

    name: str
    decay: float
    membranes: Format


@dataclass(frozen=True)
class CurrentIntegrator:
    """Read-outs of :func:`.current_integrator_step`; ``v`` begins at ``start``, in units of the
    membranes' format."""

    name: str
    mem: Tensor
    """(N,)"""
    syn: Tensor
    """(N,)"""
    start: float
    membranes: Format


@dataclass(frozen=True)
class Mean:
    """Of read-outs: (groups x 2) values to their mean over groups, (2,)."""

    groups: int


@dataclass(frozen=True)
class Keypoints:
    """Velocities between keypoints, one per step (`models.keypoints`).

    At the i-th step from a new keypoint on (0 <= i < period) the output is
    ``last + (new - last) (i + 1) / period``, with the keypoint before it as ``last``. Until the
    first keypoint, and for ``period - 1`` steps from it on, it is zero; then the keypoint itself.
    """

    period: int


@dataclass(frozen=True)
class Parallel:
    """Cortex areas apart: each branch reads its channels of the spikes; outputs are joined."""

    channels: tuple[int, ...]
    """Of each branch, in order."""
    branches: tuple[tuple["Stage", ...], ...]


Stage = (
    Convolution
    | Linear
    | LIF
    | CurrentLIF
    | Integrator
    | CurrentIntegrator
    | Mean
    | Keypoints
    | Parallel
)


def linear(name: str, layer: nn.Linear) -> Linear:
    """A linear layer as it is now."""
    return Linear(name, layer.weight.detach(), None if layer.bias is None else layer.bias.detach())


def refusal(decoder: nn.Module) -> NoStagesError:
    """Of a decoder without ``stages``: names its first layer with weights of its own."""
    layers = (
        f"{name} ({type(layer).__name__})"
        for name, layer in decoder.named_modules()
        if name and list(layer.parameters(recurse=False))
    )
    return NoStagesError(
        f"{type(decoder).__name__} cannot be exported: it does not say what its layer "
        f"{next(layers, 'of no name')} computes; write {type(decoder).__name__}.stages() as "
        "spikereach.models.decoder.Decoder describes"
    )


def flat(stages: Sequence[Stage]) -> list[Stage]:
    """All stages, branches one after the other."""
    found = []
    for stage in stages:
        inner = stage.branches if isinstance(stage, Parallel) else ()
        found += [each for branch in inner for each in flat(branch)] or [stage]
    return found
