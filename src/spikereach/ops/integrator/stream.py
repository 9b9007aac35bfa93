"""The integrators bin by bin."""

import numpy as np
import torch
from torch import Tensor

from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.cpu import values
from spikereach.ops.current_lif.cpu import step
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState
from spikereach.ops.current_lif.stream import half_step


class IntegratorStream:
    """:func:`~spikereach.ops.integrator.scan_integrator` of one stream."""

    def __init__(self, decay: float, membrane: Tensor):
        v = values(membrane[0])
        self.out = np.empty_like(v)
        self.rest = np.float32(decay), v, self.out

    def __call__(self, current: np.ndarray) -> np.ndarray:
        _step(current, *self.rest)
        return self.out


@compiled
def _step(current, decay, v, out):
    for n in range(len(v)):
        out[n] = v[n] = decay * v[n] + current[n]


class CurrentIntegratorStream:
    """:func:`~spikereach.ops.integrator.scan_current_integrator` of one stream."""

    def __init__(self, parameters: CurrentParameters, state: CurrentState):
        half = parameters.mem.dtype == torch.float16
        self.state = [values(part[0]) for part in state]
        self.rest = *(values(decay) for decay in parameters), half, *self.state

    def __call__(self, currents: np.ndarray) -> np.ndarray:
        _current_step(currents, *self.rest)
        return self.state[0]


@compiled
def _current_step(currents, mem, syn, half, v, i, a):
    z = np.zeros_like(v)
    if half:
        half_step(z, v, i, a, mem, syn)
    else:
        step(z, v, i, a, mem, syn)
    a[:] = currents
