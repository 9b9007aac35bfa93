"""Decoders bin by bin, without PyTorch: the compiled loops of `neurons.kernels` on one stream.

A stream starts from a decoder's state and does what its `forward` does with one bin per call,
within microseconds: no tensor is made, and silent inputs cost nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from spikereach.ops.common import cpu, intrinsics, kernels, single
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState, CurrentWeights
from spikereach.ops.lif.step import LIFParameters, LIFState, Reset

Stream = Callable[[np.ndarray], np.ndarray]
"""From the spikes of the next bin (C,) uint8 to velocity (2,) float32, standardised as trained."""


def values(tensor: Tensor) -> np.ndarray:
    """A contiguous copy in float32."""
    return np.array(tensor.detach().float().cpu().numpy(), order="C")


def stored(buffer_format: str | tuple[int, int]) -> tuple[np.float32, np.float32, np.float32]:
    """:meth:`~spikereach.models.decoder.Decoder.buffer` as `single.store` takes it."""
    if buffer_format == "float16":
        return single.HALF, kernels.NIL, kernels.NIL
    return cpu.fixed_point_grid(buffer_format if isinstance(buffer_format, tuple) else None)


class Receiver:
    """Linear layer: weight (units, inputs), bias (units,) or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        self.weight_t = values(weight.T)
        self.bias = np.zeros(len(weight), np.float32) if bias is None else values(bias)
        self.out = np.empty_like(self.bias)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        single.receive(x, self.weight_t, self.bias, self.out)
        return self.out


class LIF:
    """Input weights, and :func:`~spikereach.ops.lif.scan_lif` of one stream."""

    def __init__(
        self,
        weight: Tensor,
        recurrent: Tensor | None,
        parameters: LIFParameters,
        state: LIFState,
        *,
        reset: Reset = "subtract",
        fixed_point: tuple[int, int] | None = None,
    ):
        self.v, self.z = (values(part[0]) for part in state)
        units = len(self.v)
        recurrent_t = np.empty((0, units), np.float32)
        if recurrent is not None:
            recurrent_t = values(recurrent.T)
        self.rest = (
            values(weight.T),
            np.zeros(units, np.float32),
            recurrent_t,
            np.full(units, float(parameters.decay), np.float32),
            *cpu.lif_rule(parameters.threshold, reset, fixed_point),
            self.v,
            self.z,
            np.empty((3, 1, units), np.float32),
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        single.lif(x, *self.rest)
        return self.z


class Integrator:
    """:func:`~spikereach.ops.integrator.scan_integrator` of one stream."""

    def __init__(self, decay: float, membrane: Tensor):
        self.v = values(membrane[0])
        self.decay = np.full(len(self.v), decay, np.float32)
        self.row = np.empty((1, len(self.v)), np.float32)

    def __call__(self, current: np.ndarray) -> np.ndarray:
        kernels.integrator_forward(current[None], self.decay, 0, len(self.v), self.v, self.row)
        return self.row[0]


class CurrentLIF:
    """:func:`~spikereach.ops.current_lif.scan_current_lif` of one stream: what the outputs get.

    Weights in float16: every sum and product is rounded, as in :meth:`Decoder.forward`.
    """

    NO_DROPOUT = cpu.drawn(None)

    def __init__(self, weights: CurrentWeights, parameters: CurrentParameters, state: CurrentState):
        outputs, units = weights.output.shape
        self.half = weights.input.dtype == torch.float16
        self.weights_t = [values(weight.T) for weight in weights]
        self.decays = [values(decay) for decay in parameters]
        self.state = [values(part[0]) for part in state]
        self.z, self.out = np.empty((1, units), np.float32), np.empty((1, outputs), np.float32)
        self.nothing = np.zeros(max(units, outputs), np.float32)
        inputs = weights.input.shape[1]
        self.bits = [np.empty((1, 1, intrinsics.words(n)), np.uint64) for n in (inputs, units)]
        self.no_checkpoints = np.empty((0, 3, units), np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.half:
            single.current_lif_half(
                x,
                *self.weights_t,
                *self.decays,
                self.nothing,
                *self.state,
                self.z[0],
                self.out[0],
            )
        else:
            kernels.current_lif_forward(
                x[None],
                *self.weights_t,
                self.NO_DROPOUT,
                self.NO_DROPOUT,
                *self.decays,
                0,
                1,
                *self.state,
                self.z,
                self.out,
                *self.bits,
                self.no_checkpoints,
            )
        return self.out[0]


class CurrentIntegrator:
    """:func:`~spikereach.ops.integrator.scan_current_integrator` of one stream."""

    def __init__(self, parameters: CurrentParameters, state: CurrentState):
        self.half = parameters.mem.dtype == torch.float16
        self.decays = [values(decay) for decay in parameters]
        self.state = [values(part[0]) for part in state]
        self.rows = np.empty((2, 1, len(self.state[0])), np.float32)

    def __call__(self, currents: np.ndarray) -> np.ndarray:
        single.current_integrator(currents, *self.decays, self.half, *self.state, self.rows)
        return self.state[0]


class ConvolutionAndPool:
    """Conv1d over the latest inputs, then the maximum of every two frames.

    Args:
        weight: (frames' channels, inputs, kernel).
        bias: (frames' channels,).
        buffer_format: in which each frame is stored before the maximum.
        inputs: (n, inputs) latest inputs, n < kernel; the first frame comes once there are
            ``kernel`` of them.
        odd: (0 or 1, channels), the frame that waits for its partner.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        buffer_format: str | tuple[int, int],
        inputs: Tensor,
        odd: Tensor,
    ):
        channels, _, kernel = weight.shape
        present = len(inputs)
        latest = np.zeros((kernel, inputs.shape[1]), np.float32)
        latest[kernel - present :] = values(inputs)
        self.pooled = np.empty(channels, np.float32)
        if len(odd):
            self.pooled[:] = values(odd[0])
        self.rest = (
            latest,
            values(weight.permute(2, 1, 0).flatten(0, 1)),
            values(bias),
            *stored(buffer_format),
            np.array([kernel - 1 - present, len(odd)]),
            np.empty(channels, np.float32),
            self.pooled,
        )

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """The next pooled frame, if this input completes it."""
        return self.pooled if single.convolve(x, *self.rest) else None


class Keypoints:
    """Linear read-out of keypoints, the velocities between them, emitted ``lookahead`` steps
    late (`models.keypoints`)."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        period: int,
        lookahead: int,
        seen: int,
        last: Tensor,
        ready: Tensor,
    ):
        self.silent = max(0, lookahead - seen)
        self.ready = deque(values(ready[:, 0]))
        self.begun = len(last) > 0
        self.last = values(last[0, 0]) if self.begun else np.zeros(2, np.float32)
        self.shares = np.arange(1, period + 1, dtype=np.float32) / np.float32(period)
        self.readout = values(weight.T), values(bias)
        self.zero = np.zeros(2, np.float32)

    def add(self, x: np.ndarray) -> None:
        """The next keypoint, from what the read-out reads."""
        between = np.empty((len(self.shares), 2), np.float32)
        single.keypoint(x, *self.readout, self.last, self.shares, between)
        self.ready.extend(between if self.begun else between[-1:])
        self.begun = True

    def emit(self) -> np.ndarray:
        if self.silent:
            self.silent -= 1
            return self.zero
        return self.ready.popleft()


def chain(*stages: Stream) -> Stream:
    """One stage after the other, as far as one has an output."""

    def step(x: np.ndarray) -> np.ndarray | None:
        for stage in stages:
            x = stage(x)
            if x is None:
                return None
        return x

    return step
