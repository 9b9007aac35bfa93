"""The neuron bin by bin."""

import numpy as np
import torch

from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.cpu import grid, values
from spikereach.ops.common.intrinsics import words
from spikereach.ops.common.loops import ALL, ONE, fire, receive, round_half
from spikereach.ops.current_lif.cpu import forward
from spikereach.ops.current_lif.step import CurrentLayers, CurrentParameters, CurrentState


class CurrentLIFStream:
    """:func:`~spikereach.ops.current_lif.scan_current_lif` of one stream: what the outputs get.

    Weights in float16: every sum and product is rounded, as in the reference.
    """

    def __init__(
        self,
        layers: CurrentLayers,
        parameters: CurrentParameters,
        state: CurrentState,
        *,
        fixed_point: tuple[int, int] | None = None,
    ):
        outputs, units = layers.output.weight.shape
        inputs = layers.input.weight.shape[1]
        self.half = layers.input.weight.dtype == torch.float16
        z, out = np.empty((1, units), np.float32), np.empty((1, outputs), np.float32)
        self.out = out[0]
        self.arrays = (
            tuple(values(weight.T) for weight in layers.weights),
            tuple(values(decay) for decay in parameters),
            tuple(values(part[0]) for part in state),
            (z, out),
        )
        if self.half:
            self.nothing = np.zeros(max(units, outputs), np.float32)
        else:
            bits = [np.empty((1, 1, words(n)), np.uint64) for n in (inputs, units)]
            self.kept = *bits, np.empty((0, 3, units), np.float32)
            self.rule = ALL, ALL, grid(fixed_point)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        weights_t, decays, state, outputs = self.arrays
        if self.half:
            _half_step(x, weights_t, decays, state, outputs, self.nothing)
        else:
            forward(x[None], weights_t, decays, self.rule, (0, 1), state, outputs, self.kept)
        return self.out


@compiled
def half_step(z, v, i, a, mem, syn):
    """v and i of `current_lif_step` in binary16: every sum and product is rounded."""
    rest, decayed = ONE - mem, mem * v
    round_half(rest)
    round_half(decayed)
    rest *= i
    round_half(rest)
    decayed += rest
    round_half(decayed)
    for n in range(len(v)):
        v[n] = decayed[n] * (ONE - z[n])
    for n in range(len(i)):
        i[n] *= syn[n]
    round_half(i)
    for n in range(len(i)):
        i[n] += a[n]
    round_half(i)


@compiled
def _half_step(x, weights_t, decays, state, outputs, nothing):
    """`scan_current_lif` of one step in binary16, every value in float32."""
    (input_t, recurrent_t, output_t), (mem, syn), (v, i, a) = weights_t, decays, state
    z, out = outputs[0][0], outputs[1][0]
    fire(v, ONE, z)
    half_step(z, v, i, a, mem, syn)
    received = np.empty_like(a)
    receive(x, input_t, nothing, received)
    round_half(received)
    receive(z, recurrent_t, nothing, a)
    round_half(a)
    for n in range(len(a)):
        a[n] += received[n]
    round_half(a)
    receive(z, output_t, nothing, out)
    round_half(out)
