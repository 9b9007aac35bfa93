"""The integrators bin by bin."""

import numpy as np
import torch
from torch import Tensor

from spikereach.ops.common.compiling import compiled
from spikereach.ops.common.cpu import grid, values
from spikereach.ops.common.loops import store
from spikereach.ops.current_lif.cpu import step
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState
from spikereach.ops.current_lif.stream import half_step


class IntegratorStream:
    """:func:`~spikereach.ops.integrator.scan_integrator` of one stream."""

    def __init__(
        self, decay: Tensor | float, membrane: Tensor, *, fixed_point: tuple[int, int] | None = None
    ):
        v = values(membrane[0])
        self.out = np.empty_like(v)
        decay = values(torch.as_tensor(decay).expand(len(v)))
        self.rest = decay, grid(fixed_point), v, self.out

    def __call__(self, current: np.ndarray) -> np.ndarray:
        _step(current, *self.rest)
        return self.out


@compiled
def _step(current, decay, grid, v, out):
    for n in range(len(v)):
        v[n] = decay[n] * v[n] + current[n]
    store(v, grid)
    out[:] = v


class CurrentIntegratorStream:
    """:func:`~spikereach.ops.integrator.scan_current_integrator` of one stream."""

    def __init__(
        self,
        parameters: CurrentParameters,
        state: CurrentState,
        *,
        fixed_point: tuple[int, int] | None = None,
    ):
        half = parameters.mem.dtype == torch.float16
        self.state = [values(part[0]) for part in state]
        decays = (values(decay) for decay in parameters)
        self.rest = *decays, half, grid(fixed_point), *self.state

    def __call__(self, currents: np.ndarray) -> np.ndarray:
        _current_step(currents, *self.rest)
        return self.state[0]


@compiled
def _current_step(currents, mem, syn, half, grid, v, i, a):
    z = np.zeros_like(v)
    if half:
        half_step(z, v, i, a, mem, syn)
    else:
        step(z, v, i, a, mem, syn)
        store(v, grid)
        store(i, grid)
    a[:] = currents
