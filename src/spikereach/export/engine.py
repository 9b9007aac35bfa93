"""The specification of integer decoders: a program run in NumPy integers, bin by bin."""

from collections.abc import Callable, Sequence

import numpy as np

from spikereach.export.program import Layer, Program
from spikereach.models import stages

Step = Callable[[np.ndarray], np.ndarray | None]
"""From a stage's input, int64, to its output; None where it has none at this step."""


class Engine:
    """``engine(spikes)`` takes the next bin and returns the velocity.

    Args:
        program: of a decoder; every engine begins anew.
    """

    def __init__(self, program: Program):
        self._step = _chain(program.layers, program.weights[1])

    def __call__(self, spikes: np.ndarray) -> np.ndarray:
        """Velocity (2,) int64 for a bin's spikes (C,) of 0 and 1: the step ``lookahead`` before."""
        return self._step(np.asarray(spikes, np.int64))

    def run(self, spikes: np.ndarray) -> np.ndarray:
        """Velocities (T, 2) int64 of further bins (T, C)."""
        return np.array([self(row) for row in spikes]).reshape(-1, 2)


def rounded(values: np.ndarray, shift: int) -> np.ndarray:
    """``values * 2**-shift`` to the nearest integer, ties to the even one."""
    if shift <= 0:
        return values << -shift
    floor, rest, half = values >> shift, values & ((1 << shift) - 1), 1 << (shift - 1)
    return floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))


def store(values: np.ndarray, bits: int, grid: tuple[int, int]) -> np.ndarray:
    """Values with ``bits`` fractional bits in a format of integer and fractional bits."""
    end = 1 << sum(grid)
    return np.clip(rounded(values, bits - grid[1]), -end, end - 1)


def receive(layer: stages.Linear, x: np.ndarray, before: int) -> np.ndarray:
    """``W x + b`` with the fractional bits of weights and of ``x``, ``before``."""
    return layer.weight @ x + (0 if layer.bias is None else layer.bias << before)


def _chain(layers: Sequence[Layer], fraction: int) -> Step:
    steps = [_step(layer, fraction) for layer in layers]

    def chain(x: np.ndarray) -> np.ndarray | None:
        for step in steps:  # keypoints give velocities at all steps
            x = step(x) if x is not None or isinstance(step, _Keypoints) else None
        return x

    return chain


def _step(layer: Layer, fraction: int) -> Step:
    stage, before = layer.stage, layer.input_bits
    match stage:
        case stages.Convolution():
            return _Convolution(stage, before, fraction)
        case stages.Linear():
            return lambda x: receive(stage, x, before)
        case stages.LIF():
            return _LIF(stage, before, fraction)
        case stages.CurrentLIF():
            return _CurrentLIF(stage, before, fraction)
        case stages.Integrator():
            return _Integrator(stage, before, fraction)
        case stages.CurrentIntegrator():
            return _CurrentIntegrator(stage, before, fraction)
        case stages.Mean():
            return lambda x: x.reshape(stage.groups, -1).sum(0)
        case stages.Keypoints():
            return _Keypoints(stage.period)
        case stages.Parallel():
            return _Parallel(stage, fraction)


class _Convolution:
    def __init__(self, stage: stages.Convolution, before: int, fraction: int):
        self.stage, self.before, self.bits = stage, before, fraction + before
        _, inputs, kernel = stage.weight.shape
        self.latest = np.zeros((inputs, kernel), np.int64)
        self.missing = kernel - stage.padding
        self.waiting = None

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        stage = self.stage
        self.latest = np.concatenate([self.latest[:, 1:], x[:, None]], 1)
        self.missing = max(self.missing - 1, 0)
        if self.missing:
            return None
        sums = np.tensordot(stage.weight, self.latest, 2) + (stage.bias << self.before)
        frame, first = store(sums, self.bits, stage.buffers), self.waiting
        self.waiting = frame if first is None else None
        return None if first is None else np.maximum(first, frame)


class _LIF:
    def __init__(self, stage: stages.LIF, before: int, fraction: int):
        self.stage, self.before = stage, before
        self.bits = fraction + max(before, stage.membranes[1])
        self.shifts = [self.bits - fraction - bits for bits in (stage.membranes[1], before, 0)]
        self.v = np.zeros(len(stage.input.weight), np.int64)
        self.z = np.zeros_like(self.v)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        stage, v, z = self.stage, self.v, self.z
        of_v, of_x, of_weights = self.shifts
        received = receive(stage.input, x, self.before) << of_x
        if stage.recurrent is not None:
            received += receive(stage.recurrent, z, 0) << of_weights
        if stage.reset == "zero":
            v = v * (1 - z)
        new = (stage.decay * v << of_v) + received
        if stage.reset == "zero_and_input":
            new *= 1 - z
        elif stage.reset == "subtract":
            new -= z * stage.threshold << of_weights
        self.v = store(new, self.bits, stage.membranes)
        threshold = stage.threshold << of_weights
        self.z = (self.v << self.bits - stage.membranes[1] > threshold).astype(np.int64)
        return self.z


def _decay(v, i, arriving, stage, before: int, fraction: int):
    """Membrane and synaptic current after a step, what has arrived with ``before`` bits."""
    bits = fraction + stage.membranes[1]
    new_v = stage.mem * v + ((1 << fraction) - stage.mem) * i
    finest = max(bits, before)
    new_i = (stage.syn * i << finest - bits) + (arriving << finest - before)
    return store(new_v, bits, stage.membranes), store(new_i, finest, stage.membranes)


class _CurrentLIF:
    def __init__(self, stage: stages.CurrentLIF, before: int, fraction: int):
        self.stage, self.before, self.fraction = stage, before, fraction
        self.v = self.i = self.arriving = np.zeros(len(stage.mem), np.int64)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        stage, before = self.stage, self.before
        z = (self.v > 1 << stage.membranes[1]).astype(np.int64)
        bits = self.fraction + before
        v, self.i = _decay(self.v, self.i, self.arriving, stage, bits, self.fraction)
        self.v = v * (1 - z)
        self.arriving = receive(stage.input, x, before) + (receive(stage.recurrent, z, 0) << before)
        return z


class _Integrator:
    def __init__(self, stage: stages.Integrator, before: int, fraction: int):
        self.stage, self.before, self.bits = stage, before, fraction + stage.membranes[1]
        self.v = np.int64(0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        finest = max(self.bits, self.before)
        decayed = self.stage.decay * self.v << finest - self.bits
        self.v = store(decayed + (x << finest - self.before), finest, self.stage.membranes)
        return self.v


class _CurrentIntegrator:
    def __init__(self, stage: stages.CurrentIntegrator, before: int, fraction: int):
        self.stage, self.before, self.fraction = stage, before, fraction
        self.v = np.full(len(stage.mem), stage.start, np.int64)
        self.i = self.arriving = np.zeros_like(self.v)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.v, self.i = _decay(
            self.v, self.i, self.arriving, self.stage, self.before, self.fraction
        )
        self.arriving = x
        return self.v


class _Keypoints:
    def __init__(self, period: int):
        self.period = period
        self.last = self.new = None
        self.step = 0

    def __call__(self, x: np.ndarray | None) -> np.ndarray:
        if x is not None:
            self.last, self.new, self.step = self.new, x, 0
        if self.new is None:
            return np.zeros(2, np.int64)
        self.step += 1
        last = 0 * self.new if self.last is None else self.last
        share = self.step if self.last is not None else self.step // self.period * self.period
        return last * (self.period - share) + self.new * share


class _Parallel:
    def __init__(self, stage: stages.Parallel, fraction: int):
        self.ends = np.cumsum(stage.channels)[:-1]
        self.branches = [_chain(branch, fraction) for branch in stage.branches]

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        areas = zip(self.branches, np.split(x, self.ends), strict=True)
        found = [branch(area) for branch, area in areas]
        return None if found[0] is None else np.concatenate(found)
