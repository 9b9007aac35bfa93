"""The decoder protocol: what every system is to training, evaluation and streaming.

Shapes: ``T`` steps of 4 ms, ``B`` independent streams, ``C`` input channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikereach.models.stages import Stage, refusal
from spikereach.models.streams import Stream
from spikereach.ops.common.fixed_point import Format, Formats, constant, stored

STEP_S = 0.004
"""Length of one time step in seconds (250 Hz)."""

State = Any
"""A decoder's state between two calls: a NamedTuple of tensors (and counters), opaque outside."""


@dataclass(frozen=True)
class Timing:
    """When a decoder computes and what it waits for, in steps.

    Raises:
        ValueError: not a whole number, or too small a one.
    """

    lookahead: int = 0
    """Future that the output for a step depends on, by which it is delayed."""
    update_period: int = 1
    """From one new prediction to the next."""
    receptive_field: int | None = None
    """Input that one prediction depends on, where finite (None: unbounded recurrence)."""
    latency_steps: int | None = None
    """Data that must be collected for one prediction: the paper's latency is this times 4 ms (its
    table III: 1 for stepwise nets, the window of windowed ones, receptive_field / 2 + 1 for
    centred convolutions). None: the receptive field, or the update period where there is none."""
    whole_windows: int = 1
    """Evaluation uses a multiple of this (the window of windowed decoders)."""
    once_per_step: bool = False
    """Whether the decoder is a network that is run anew for each step. It takes all steps in one
    call; costs are those of one call per step."""

    def __post_init__(self):
        if self.latency_steps is None:
            latency = self.receptive_field or self.update_period
            object.__setattr__(self, "latency_steps", latency)
        least = {"lookahead": 0, "update_period": 1, "latency_steps": 1, "whole_windows": 1}
        if self.receptive_field is not None:
            least["receptive_field"] = 1
        for name, smallest in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < smallest:
                raise ValueError(
                    f"{name} is {value!r}: expected a whole number of steps, at least {smallest}"
                )

    @property
    def unit(self) -> int:
        """Steps after which everything repeats: whole windows and updates."""
        return math.lcm(self.update_period, self.whole_windows)

    @property
    def settled(self) -> int:
        """Whole units after which a prediction is there that the beginning does not reach."""
        needed = self.lookahead + (self.receptive_field or 1)
        return self.unit * math.ceil(needed / self.unit)


class Standardisation(NamedTuple):
    """What training takes off velocities, x and y each: ``offset``, then the factor ``scale``."""

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def undo(self, velocity: Tensor) -> Tensor:
        """Velocity (..., 2) in the session's unit per step."""
        return velocity * velocity.new_tensor(self.scale) + velocity.new_tensor(self.offset)


@dataclass(frozen=True)
class BufferSize:
    """Data a streaming implementation keeps for one layer (Krausse 2025, section on buffers)."""

    layer: str
    values: int
    kind: str
    """"input" (spikes or counts), "buffer" (activations between layers) or "state" (neurons)."""
    input_bits: int = 1
    """Of one stored input value (8 where the published system keeps bytes)."""


class Decoder(nn.Module):
    """Base class of all systems.

    ``forward`` is strictly causal. A decoder that needs future bins delays its output:
    what it returns at step ``t`` is the velocity of step ``t - lookahead``. Streaming is
    the same call with few steps and the state carried over, so both agree by construction.

    What its layers do is seen by hooks (`ops.common.record`): they are attributes and called as
    modules. The functions in `spikereach.ops` tell of the layers that they are given.

    Args:
        channels: input channels C.
        timing: when it computes.
    """

    #: whether :meth:`forward` also takes spikes as bytes, which are a quarter of the memory
    takes_bytes: bool = False
    #: whether :meth:`fold` has been called; part of a checkpoint
    folded: bool = False
    #: dotted names of parameters that a deployed decoder does not store: what :meth:`constant`
    #: rounds is computed from them; fixed point leaves them as they are
    unstored: frozenset[str] = frozenset()

    def __init__(self, *, channels: int, timing: Timing = Timing()):
        super().__init__()
        self.channels = channels
        self.timing = timing
        #: from velocities as trained to the session's own unit per step, as NeuroBench scores
        #: them; filled in by training, not counted in any footprint
        self.standardisation = Standardisation()
        #: as stored in the deployed decoder
        self.weight_format: Format = "float32"
        self.buffer_format: Format = "float32"

    @property
    def formats(self) -> Formats:
        """Of weights and of what a stream stores."""
        return Formats(self.weight_format, self.buffer_format)

    def buffer(self, values: Tensor) -> Tensor:
        """What a streaming implementation would read back after storing ``values``."""
        return stored(values, self.buffer_format)

    def constant(self, values: Tensor | float) -> Tensor | float:
        """Neurons' decays or thresholds as stored in the deployed decoder: in fixed point on the
        grid of `Formats.constants`, with a straight-through gradient."""
        return constant(values, self.formats.constants)

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Decode ``spikes`` (T, B, C), binary float.

        Args:
            spikes: T >= 1 further steps of B streams; bytes only where :attr:`takes_bytes`.
            state: as returned by the last call; ``None`` starts anew.
        Returns:
            velocity (T, B, 2) of the steps ``lookahead`` earlier, standardised as trained, and
            the new state.
        """
        raise NotImplementedError

    def standardised_streamer(self, state: State | None = None) -> Stream:
        """A function that decodes one stream bin by bin, with as little delay as possible.

        Its velocities are standardised as trained; `spikereach.Stream` gives them in the session's
        unit. In evaluation mode it equals :meth:`forward` with one bin per call. The parameters are
        those of now. Real-time systems override it with compiled loops.

        Args:
            state: of one stream, as :meth:`forward` returns it; None starts anew.
        """
        device = device_of(self)

        def step(spikes: np.ndarray) -> np.ndarray:
            nonlocal state
            with torch.inference_mode():
                x = torch.from_numpy(spikes).to(device=device, dtype=torch.float32)
                velocity, state = self(x[None, None], state)
                return velocity[0, 0].float().cpu().numpy()

        return step

    def decode(self, spikes: Tensor) -> Tensor:
        """Velocity (T, B, 2) of each of the T steps, in the session's unit of position per step.

        Aligned in time, as :meth:`decode_standardised`.
        """
        return self.standardisation.undo(self.decode_standardised(spikes))

    def decode_standardised(self, spikes: Tensor) -> Tensor:
        """Velocity (T, B, 2) of each of the T steps, standardised as trained, aligned in time.

        The end of the recording is followed by ``lookahead`` silent steps. Spikes may be bytes.
        """
        spikes, lookahead = as_taken(self, spikes), self.timing.lookahead
        if lookahead:
            spikes = nn.functional.pad(spikes, (0, 0, 0, 0, 0, lookahead))
        velocity, _ = self(spikes)
        return velocity[lookahead:]

    def training_pairs(self, spikes: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """What the training loss compares: predictions and their targets, (N, B, 2) each.

        Args:
            spikes: windows (window, B, C), each of which begins a stream.
            velocity: (window, B, 2), standardised.
        """
        return self.decode_standardised(spikes), velocity

    def initialise(self, rates_hz: Tensor, generator: torch.Generator) -> None:
        """Draw initial weights that depend on the data, before training from scratch.

        Args:
            rates_hz: for each input channel the mean firing rate of its area over all training
                windows, (C,).
            generator: the only source of randomness, on the CPU.
        Raises:
            ValueError: there are no initial weights for these rates.
        """

    def fold(self) -> None:
        """Merge batch norms into the layers before them, once, before weights are quantised.

        Decoders with such layers override this; outputs in evaluation mode stay the same.
        """
        self.folded = True

    def fit_closed_form(self, spikes: Tensor, velocity: Tensor, joints: Sequence[int] = ()) -> bool:
        """Fit without gradients (Wiener, Kalman): spikes (T, C), standardised velocity (T, 2).

        At each of ``joints``, in ascending order, another recording or stretch of time begins.

        Returns False where the decoder is trained by gradient descent.
        """
        return False

    def stages(self) -> list[Stage]:
        """What :meth:`forward` computes at each step in evaluation mode, for export.

        Raises:
            NoStagesError: a layer is none of `models.stages`.
        """
        raise refusal(self)

    def buffer_sizes(self) -> list[BufferSize]:
        """Values a streaming implementation keeps per layer, by the paper's algorithm."""
        raise NotImplementedError


def device_of(decoder: Decoder) -> torch.device:
    """Where a decoder computes."""
    return next((p.device for p in decoder.parameters()), torch.device("cpu"))


def as_taken(decoder: Decoder, spikes: Tensor) -> Tensor:
    """Spikes as :meth:`Decoder.forward` takes them: bytes only where it does."""
    return spikes.float() if spikes.dtype == torch.uint8 and not decoder.takes_bytes else spikes
