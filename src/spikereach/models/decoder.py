"""The decoder protocol: what every system is to training, evaluation and streaming.

Shapes: ``T`` steps of 4 ms, ``B`` independent streams, ``C`` input channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikereach.models.streams import Stream
from spikereach.ops.common.fixed_point import stored

STEP_S = 0.004
"""Length of one time step in seconds (250 Hz)."""

State = Any
"""A decoder's state between two calls: a NamedTuple of tensors (and counters), opaque outside."""


@dataclass(frozen=True)
class LayerCalls:
    """Inputs that one connection layer (Linear, Conv1d, GRUCell, ...) received.

    ``inputs`` are the positional arguments of its calls, stacked: axis 0 counts the calls
    that NeuroBench would see, the other axes are those of a single call.
    """

    layer: nn.Module
    inputs: tuple[Tensor, ...]


@dataclass
class Trace:
    """What one forward pass did, for regularisers and for exact cost counting."""

    spikes: dict[str, Tensor] = field(default_factory=dict)
    """Hidden spikes by layer name, (steps, B, units); differentiable in training."""
    activations: list[Tensor] = field(default_factory=list)
    """Outputs of every activation that NeuroBench counts in its activation sparsity."""
    calls: list[LayerCalls] = field(default_factory=list)
    """Connection-layer inputs, for which evaluation mode is needed: in training they may be
    missing; a layer may occur more than once."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Further scalar loss terms of the decoder itself (AEGRU's reconstruction)."""


@dataclass(frozen=True)
class BufferSize:
    """Data a streaming implementation keeps for one layer (Krausse 2025, section on buffers)."""

    layer: str
    values: int
    kind: str
    """"input" (spikes or counts), "buffer" (activations between layers) or "state" (neurons)."""


class Decoder(nn.Module):
    """Base class of all systems.

    ``forward`` is strictly causal. A decoder that needs future bins delays its output:
    what it returns at step ``t`` is the velocity of step ``t - lookahead``. Streaming is
    the same call with few steps and the state carried over, so both agree by construction.

    Velocities are in the session's own unit per step, as NeuroBench scores them: a decoder
    trained on standardised velocities undoes that itself (``output_scale``, ``output_offset``,
    filled in by training; not counted in any footprint).
    """

    #: steps of future the output for a step depends on
    lookahead: int = 0
    #: steps between two new predictions
    update_period: int = 1
    #: input steps one prediction depends on, where finite (None: unbounded recurrence)
    receptive_field: int | None = None
    #: steps of data that must be collected for one prediction: the paper's latency is this
    #: times 4 ms (its table III: 1 for stepwise nets, the window of windowed ones,
    #: receptive_field / 2 + 1 for centred convolutions)
    latency_steps: int = 1
    #: evaluation uses a multiple of this many steps (the window of windowed decoders)
    whole_windows: int = 1
    #: bits of one stored input value (spikes; 8 where the published system keeps bytes)
    input_bits: int = 1
    #: whether :meth:`forward` also takes spikes as bytes, which are a quarter of the memory
    takes_bytes: bool = False
    #: whether :meth:`fold` has been called; part of a checkpoint
    folded: bool = False

    def __init__(self, *, channels: int):
        super().__init__()
        self.channels = channels
        self.output_scale: tuple[float, float] = (1.0, 1.0)
        self.output_offset: tuple[float, float] = (0.0, 0.0)
        #: call every layer as a module, recurrent ones once per step, for NeuroBench's hooks
        self.stepwise = False
        #: "float32", "float16" or fixed-point (integer bits, fractional bits); sign bit extra
        self.weight_format: str | tuple[int, int] = "float32"
        self.buffer_format: str | tuple[int, int] = "float32"

    def buffer(self, values: Tensor) -> Tensor:
        """What a streaming implementation would read back after storing ``values``."""
        return stored(values, self.buffer_format)

    def by_events(self, spikes: Tensor) -> bool:
        """Whether compiled loops may take these spikes in the place of a module: on the CPU,
        without their gradient, and not under NeuroBench's hooks."""
        return spikes.device.type == "cpu" and not spikes.requires_grad and not self.stepwise

    def init_state(self, batch: int) -> State:
        """State before the first step, on the decoder's device."""
        raise NotImplementedError

    def forward(
        self, spikes: Tensor, state: State | None = None, *, trace: Trace | None = None
    ) -> tuple[Tensor, State]:
        """Decode ``spikes`` (T, B, C), binary float.

        Args:
            spikes: T >= 1 further steps of B streams; bytes only where :attr:`takes_bytes`.
            state: as returned by the last call; ``None`` starts anew.
            trace: filled in when given.
        Returns:
            velocity (T, B, 2) of the steps ``lookahead`` earlier, standardised as trained
            (see :meth:`decode` for session units), and the new state.
        """
        raise NotImplementedError

    def streamer(self, state: State | None = None) -> Stream:
        """A function that decodes one stream bin by bin, with as little delay as possible.

        In evaluation mode it equals :meth:`forward` with one bin per call. The parameters are
        those of now. Real-time systems override it with compiled loops.

        Args:
            state: of one stream, as :meth:`forward` returns it; None starts anew.
        """
        device = next((p.device for p in self.parameters()), torch.device("cpu"))

        def step(spikes: np.ndarray) -> np.ndarray:
            nonlocal state
            with torch.inference_mode():
                x = torch.from_numpy(spikes).to(device=device, dtype=torch.float32)
                velocity, state = self(x[None, None], state)
                return velocity[0, 0].float().cpu().numpy()

        return step

    def as_taken(self, spikes: Tensor) -> Tensor:
        """Spikes as :meth:`forward` takes them: bytes only where it does."""
        return spikes.float() if spikes.dtype == torch.uint8 and not self.takes_bytes else spikes

    def decode(self, spikes: Tensor, *, trace: Trace | None = None) -> Tensor:
        """Velocity (T, B, 2) of each of the T steps, aligned in time.

        The end of the recording is followed by ``lookahead`` silent steps. Spikes may be bytes.
        """
        spikes = self.as_taken(spikes)
        if self.lookahead:
            silence = spikes.new_zeros(self.lookahead, *spikes.shape[1:])
            spikes = torch.cat([spikes, silence])
        velocity, _ = self(spikes, trace=trace)
        return velocity[self.lookahead :]

    def to_session_units(self, velocity: Tensor) -> Tensor:
        """Undo the standardisation of the training targets."""
        scale = velocity.new_tensor(self.output_scale)
        return velocity * scale + velocity.new_tensor(self.output_offset)

    def initialise(self, rate_hz: float, generator: torch.Generator) -> None:
        """Draw initial weights that depend on the data, before training from scratch.

        Args:
            rate_hz: mean firing rate of an input channel over the training part.
            generator: the only source of randomness, on the CPU.
        """

    def fold(self) -> None:
        """Merge batch norms into the layers before them, once, before weights are quantised.

        Decoders with such layers override this; outputs in evaluation mode stay the same.
        """
        self.folded = True

    def fit_closed_form(self, spikes: Tensor, velocity: Tensor) -> bool:
        """Fit without gradients (Wiener, Kalman): spikes (T, C), velocity (T, 2).

        Returns False where the decoder is trained by gradient descent.
        """
        return False

    def buffer_sizes(self) -> list[BufferSize]:
        """Values a streaming implementation keeps per layer, by the paper's algorithm."""
        raise NotImplementedError

    def activation_modules(self) -> tuple[type[nn.Module], ...]:
        """Module types NeuroBench shall count as activations beside ReLU and Sigmoid."""
        return ()

    def load_parameters(self, tensors: Mapping[str, Tensor]) -> None:
        """Load a state dict exactly; a tensor missing, extra, or of other shape or kind is named.

        Raises:
            ValueError: naming every key that does not fit.
        """
        self.check_parameters(tensors)
        self.load_state_dict(tensors)

    def check_parameters(self, tensors: Mapping[str, Tensor]) -> None:
        """Whether :meth:`load_parameters` would accept these tensors.

        Raises:
            ValueError: naming every key that does not fit.
        """
        own = self.state_dict()
        problems = [f"missing {k}" for k in own.keys() - tensors.keys()]
        problems += [f"unexpected {k}" for k in tensors.keys() - own.keys()]
        problems += [
            f"{k} has shape {tuple(tensors[k].shape)}, expected {tuple(own[k].shape)}"
            for k in own.keys() & tensors.keys()
            if own[k].shape != tensors[k].shape
        ]
        problems += [
            f"{k} is {tensors[k].dtype}, expected {own[k].dtype}"
            for k in own.keys() & tensors.keys()
            if own[k].is_floating_point() != tensors[k].is_floating_point()
        ]
        if problems:
            raise ValueError("parameters do not fit the decoder: " + "; ".join(sorted(problems)))
