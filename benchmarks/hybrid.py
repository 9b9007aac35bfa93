"""Training batches of RTnet."""

from __future__ import annotations

import math
from functools import partial

import torch
from common import Peer, Spike, decoder_of, training
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.ops.common.dropout import draw_dropout

DROPOUT, SLOPE, DECAY = 0.3, 5.0, math.exp(-16 / 150)


class Plain(Peer):
    """Our convolutions and parameters as modules, and a loop over keypoints."""

    def __init__(self, system: str):
        super().__init__()
        self.ours = decoder_of(system)
        self.blocks = tuple(self.ours.convs[0])
        self.silence = self.ours.lookahead  # after it the last velocity of a window is known

    def run(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        x = F.pad(spikes, (0, 0, 0, 0, 0, self.silence)).permute(1, 2, 0)
        for block in self.blocks:
            x = block.norm(block.conv(F.pad(x, (block.conv.kernel_size[0] // 2, 0))))
            x = self.dropout(F.max_pool1d(x, 2))
        frames = x.permute(2, 0, 1)
        for layer in range(2):
            frames = self.neurons(layer, frames)
        keypoints = self.ours.readout(frames)
        weights = torch.arange(4.0)[:, None, None] / 4
        start, end = keypoints[:-1, None], keypoints[1:, None]
        return (start + (end - start) * weights).flatten(0, 1)[: len(spikes)], frames

    def dropout(self, x: Tensor) -> Tensor:
        """Of (B, C, frames); ours draws it for (B, frames, C)."""
        if not self.drawn:
            return F.dropout(x, DROPOUT)
        x = x.transpose(1, 2)
        return draw_dropout(x.shape, DROPOUT, x.device)(x).transpose(1, 2)

    def neurons(self, layer: int, frames: Tensor) -> Tensor:
        connections = self.ours.nets[0][layer]
        currents = connections.input(frames)
        v = z = torch.zeros_like(currents[0])
        fired = []
        for current in currents:
            v = DECAY * v + current + connections.recurrent(z) - z.detach()
            z = Spike.apply(v - 1, SLOPE)
            fired.append(z)
        return torch.stack(fired)


class SnnTorch(Plain):
    def __init__(self, system: str):
        import snntorch as snn

        super().__init__(system)
        units = self.ours.readout.in_features
        gradient = snn.surrogate.fast_sigmoid(slope=SLOPE)
        self.leaky = nn.ModuleList(
            snn.RLeaky(beta=DECAY, linear_features=units, spike_grad=gradient) for _ in range(2)
        )

    def neurons(self, layer: int, frames: Tensor) -> Tensor:
        neuron, states = self.leaky[layer], [self.leaky[layer].init_rleaky()]
        for current in self.ours.nets[0][layer].input(frames):
            states.append(neuron(current, *states[-1]))
        return torch.stack([z for z, _ in states[1:]])


ours, plain, snntorch = (partial(training, network) for network in (decoder_of, Plain, SnnTorch))
