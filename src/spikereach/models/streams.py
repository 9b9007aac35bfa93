"""Decoders bin by bin, without PyTorch: the compiled loops of `neurons.kernels` on one stream.

A stream starts from a decoder's state and does what its `forward` does with one bin per call,
within microseconds: no tensor is made, and silent inputs cost nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from torch import Tensor

from spikereach.neurons import cpu, kernels
from spikereach.neurons.current_lif import CurrentParameters, CurrentState, CurrentWeights
from spikereach.neurons.lif import LIFParameters, LIFState, Reset

Stream = Callable[[np.ndarray], np.ndarray]
"""From the spikes of the next bin (C,) uint8 to velocity (2,) float32, standardised as trained."""


def values(tensor: Tensor) -> np.ndarray:
    """A contiguous copy in float32."""
    return np.array(tensor.detach().float().cpu().numpy(), order="C")


class Receiver:
    """Linear layer: weight (units, inputs), bias (units,) or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        self.weight_t = values(weight.T)
        self.bias = np.zeros(len(weight), np.float32) if bias is None else values(bias)
        self.out = np.empty_like(self.bias)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        kernels.receive(x, self.weight_t, self.bias, self.out)
        return self.out


class LIF:
    """:func:`~spikereach.neurons.scan.scan_lif` of one stream."""

    def __init__(
        self,
        recurrent: Tensor | None,
        parameters: LIFParameters,
        state: LIFState,
        *,
        reset: Reset = "subtract",
        fixed_point: tuple[int, int] | None = None,
    ):
        self.v, self.z = (values(part[0]) for part in state)
        units = len(self.v)
        self.recurrent_t = np.empty((0, units), np.float32)
        if recurrent is not None:
            self.recurrent_t = values(recurrent.T)
        self.decay = np.full(units, float(parameters.decay), np.float32)
        self.rule = cpu.lif_rule(parameters.threshold, reset, fixed_point)
        self.rows = np.empty((2, 1, units), np.float32)

    def __call__(self, current: np.ndarray) -> np.ndarray:
        kernels.lif_forward(
            current[None],
            self.recurrent_t,
            self.decay,
            *self.rule,
            0,
            len(self.v),
            self.v,
            self.z,
            *self.rows,
        )
        return self.z


class Integrator:
    """:func:`~spikereach.neurons.scan.scan_integrator` of one stream."""

    def __init__(self, decay: float, membrane: Tensor):
        self.v = values(membrane[0])
        self.decay = np.full(len(self.v), decay, np.float32)
        self.row = np.empty((1, len(self.v)), np.float32)

    def __call__(self, current: np.ndarray) -> np.ndarray:
        kernels.integrator_forward(current[None], self.decay, 0, len(self.v), self.v, self.row)
        return self.row[0]


class CurrentLIF:
    """:func:`~spikereach.neurons.scan.scan_current_lif` of one stream: what the outputs get."""

    NO_DROPOUT = cpu.drawn(None)

    def __init__(self, weights: CurrentWeights, parameters: CurrentParameters, state: CurrentState):
        self.weights_t = [values(weight.T) for weight in weights]
        self.decays = [values(decay) for decay in parameters]
        self.state = [values(part[0]) for part in state]
        outputs, units = weights.output.shape
        self.z, self.out = np.empty((1, units), np.float32), np.empty((1, outputs), np.float32)
        self.no_checkpoints = np.empty((0, 3, units), np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
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
            self.no_checkpoints,
        )
        return self.out[0]


class CurrentIntegrator:
    """:func:`~spikereach.neurons.scan.scan_current_integrator` of one stream."""

    def __init__(self, parameters: CurrentParameters, state: CurrentState):
        self.decays = [values(decay) for decay in parameters]
        self.state = [values(part[0]) for part in state]
        self.rows = np.empty((2, 1, len(self.state[0])), np.float32)

    def __call__(self, current: np.ndarray) -> np.ndarray:
        size = len(self.state[0])
        kernels.current_integrator_forward(
            current[None], *self.decays, 0, size, *self.state, *self.rows
        )
        return self.state[0]


class ConvolutionAndPool:
    """Conv1d over the latest inputs, then the maximum of every two frames.

    Args:
        weight: (frames' channels, inputs, kernel).
        bias: (frames' channels,).
        store: applied to each frame before the maximum.
        inputs: (inputs, n) latest inputs, n < kernel; the first frame comes once there are
            ``kernel`` of them.
        odd: (channels, 0 or 1), the frame that waits for its partner.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        store: Callable[[np.ndarray], np.ndarray],
        inputs: Tensor,
        odd: Tensor,
    ):
        kernel = weight.shape[2]
        self.receive = Receiver(weight.permute(0, 2, 1).flatten(1), bias)
        self.store = store
        self.missing = kernel - 1 - inputs.shape[1]
        self.latest = np.zeros((kernel, len(inputs)), np.float32)
        self.latest[kernel - inputs.shape[1] :] = values(inputs.T)
        self.odd = values(odd[:, 0]) if odd.shape[1] else None

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """The next pooled frame, if this input completes it."""
        kernels.slide(self.latest, x)
        if self.missing:
            self.missing -= 1
            return None
        frame = self.store(self.receive(self.latest.reshape(-1)))
        if self.odd is None:
            self.odd = frame.copy()
            return None
        pooled, self.odd = np.maximum(self.odd, frame), None
        return pooled


class Keypoints:
    """Interpolated keypoints, emitted ``lookahead`` steps late (`models.keypoints`)."""

    def __init__(self, period: int, lookahead: int, seen: int, keypoint: Tensor, ready: Tensor):
        self.silent = max(0, lookahead - seen)
        self.last = values(keypoint[0, 0]) if len(keypoint) else None
        self.ready = deque(values(ready[:, 0]))
        self.shares = (np.arange(1, period + 1, dtype=np.float32) / period)[:, None]
        self.zero = np.zeros(2, np.float32)

    def add(self, keypoint: np.ndarray) -> None:
        if self.last is None:
            self.ready.append(keypoint.copy())
        else:
            self.ready.extend(self.last + self.shares * (keypoint - self.last))
        self.last = keypoint.copy()

    def emit(self) -> np.ndarray:
        if self.silent:
            self.silent -= 1
            return self.zero
        return self.ready.popleft()


def storage(buffer_format: str | tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """:meth:`~spikereach.models.decoder.Decoder.buffer` for arrays."""
    if buffer_format == "float16":
        return lambda frame: frame.astype(np.float16).astype(np.float32)
    if isinstance(buffer_format, tuple):
        integer, fraction = buffer_format
        grid, lowest = np.float32(2.0**fraction), np.float32(-(2.0**integer))
        highest = np.float32(2.0**integer - 2.0**-fraction)
        return lambda frame: np.clip(np.rint(frame * grid) / grid, lowest, highest)
    return lambda frame: frame


def chain(*stages: Stream) -> Stream:
    """One stage after the other."""

    def step(x: np.ndarray) -> np.ndarray:
        for stage in stages:
            x = stage(x)
        return x

    return step
