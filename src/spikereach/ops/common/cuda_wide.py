"""Recurrent layers too wide for one program: a matrix product per step and a kernel for the rest.

The functions stand for the kernels of their names in `neurons.cuda_kernels`, and take the same
arguments; only the loop over time is here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikereach.ops.common import cuda_kernels

BLOCK = 256


def current_lif_forward(
    currents, recurrent_t, output_t, mem, syn, v, i, a,
    zs, outs, last_v, last_i, last_a, checkpoints,
    steps, streams, units, outputs, seed, dropped, scale,
    *, DROPOUT: bool, CHECKPOINTS: bool, SEGMENT: int,
):  # fmt: skip
    """As the kernel."""
    state = [
        last.copy_(first) for last, first in zip((last_v, last_i, last_a), (v, i, a), strict=True)
    ]
    dropped_spikes = torch.empty_like(v)
    for t in range(steps):
        if CHECKPOINTS and t % SEGMENT == 0:
            torch.stack(state, out=checkpoints[t // SEGMENT])
        sent = dropped_spikes if DROPOUT else zs[t]
        _grid(cuda_kernels.current_step, v)(
            *state, mem, syn, last_v, last_i, zs[t], sent,
            t, streams, units, seed, dropped, scale, DROPOUT=DROPOUT, BLOCK=BLOCK,
        )  # fmt: skip
        torch.addmm(currents[t], sent, recurrent_t, out=last_a)
        torch.mm(sent, output_t, out=outs[t])


def current_lif_backward(
    currents, checkpoints, recurrent_t, recurrent, output, mem, syn,
    gzs, gz_row, gouts, glast_v, glast_i, glast_a,
    gcurrents, sents, gv, gi, ga, gmem, gsyn, scratch,
    steps, streams, units, outputs, seed, dropped, scale, slope, peak,
    *, SHAPE: str, DROPOUT: bool, SPIKES: bool, SEGMENT: int,
):  # fmt: skip
    """As the kernel."""
    gv.copy_(glast_v)
    gi.copy_(glast_i)
    gmem.zero_()
    gsyn.zero_()
    gcurrents[-1] = glast_a
    z, gz = torch.empty_like(gv), torch.empty_like(gv)
    for first in reversed(range(0, steps, SEGMENT)):
        length = min(SEGMENT, steps - first)
        v, i, a = checkpoints[first // SEGMENT].clone()
        for k in range(length):
            before_v, before_i = scratch[k].unbind()
            before_v.copy_(v)
            before_i.copy_(i)
            t = first + k
            _grid(cuda_kernels.current_step, v)(
                v, i, a, mem, syn, v, i, z, sents[t],
                t, streams, units, seed, dropped, scale, DROPOUT=DROPOUT, BLOCK=BLOCK,
            )  # fmt: skip
            torch.addmm(currents[t], sents[t], recurrent_t, out=a)
        for k in reversed(range(length)):
            t = first + k
            torch.mm(gouts[t], output, out=gz)
            gz.addmm_(gcurrents[t], recurrent)
            _grid(cuda_kernels.current_step_back, gz)(
                *scratch[k].unbind(), mem, syn, gzs[t] if gz_row else gzs, gz,
                gv, gi, gcurrents[t - 1] if t else ga, gmem, gsyn,
                t, streams, units, seed, dropped, scale, slope, peak,
                SHAPE=SHAPE, DROPOUT=DROPOUT, SPIKES=SPIKES, BLOCK=BLOCK,
            )  # fmt: skip


def _grid(kernel, like: Tensor):
    def launch(*arguments, **constants):
        kernel[(-(-like.numel() // BLOCK),)](*arguments, **constants, enable_fp_fusion=False)

    return launch
