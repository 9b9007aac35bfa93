"""Training batches of RTnet."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from common import CHANNELS, Spike, batch, decoder_of, gradients, stage_of, training_job
from rows import Job
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.models.hybrid import Block

WINDOWS, STEPS, DROPOUT, UNITS, WIDTH = 32, 4096, 0.3, 56, 40
SILENCE = 26  # steps after which the last velocity of a window is known
SLOPE, DECAY = 5.0, math.exp(-16 / 150)


def ours(*, threads: int) -> Job:
    decoder, stage = decoder_of("RTnet").train(), stage_of("RTnet")
    spikes, target = batch(WINDOWS, STEPS)

    def loss() -> Tensor:
        return (decoder.decode(spikes) - target).square().mean()

    def result():
        blocks = [module for module in decoder.modules() if isinstance(module, Block)]
        for block in blocks:
            block.dropout = 0.0
        decoder.zero_grad()
        found = gradients(loss(), compared(dict(decoder.named_parameters())))
        for block in blocks:
            block.dropout = DROPOUT
        return found

    return training_job(decoder, stage, loss, threads, result)


def compared(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All but the biases in front of batch norms, whose gradients are rounding errors."""
    return {name: tensor for name, tensor in named.items() if not name.endswith("conv.bias")}


class Net(nn.Module):
    """Convolutions as modules, and a loop over keypoints; subclasses have the neurons."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(CHANNELS, WIDTH, 9), nn.Conv1d(WIDTH, WIDTH, 18)])
        self.norms = nn.ModuleList(nn.BatchNorm1d(WIDTH) for _ in range(2))
        self.readout = nn.Linear(UNITS, 2)
        self.dropout = DROPOUT

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, 0, SILENCE)).permute(1, 2, 0)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(F.pad(x, (conv.kernel_size[0] // 2, 0))))
            x = F.dropout(F.max_pool1d(x, 2), self.dropout)
        keypoints = self.readout(self.spike(x.permute(2, 0, 1)))
        weights = torch.arange(4.0)[:, None, None] / 4
        start, end = keypoints[:-1, None], keypoints[1:, None]
        return (start + (end - start) * weights).flatten(0, 1)[:STEPS]

    def spike(self, frames: Tensor) -> Tensor:
        raise NotImplementedError


class Plain(Net):
    def __init__(self):
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(n, UNITS, bias=False) for n in (WIDTH, UNITS))
        self.recurrents = nn.ModuleList(nn.Linear(UNITS, UNITS, bias=False) for _ in range(2))

    def spike(self, frames: Tensor) -> Tensor:
        for inputs, recurrent in zip(self.inputs, self.recurrents, strict=True):
            currents = inputs(frames)
            v = z = torch.zeros_like(currents[0])
            fired = []
            for current in currents:
                v = DECAY * v + current + recurrent(z) - z.detach()
                z = Spike.apply(v - 1, SLOPE)
                fired.append(z)
            frames = torch.stack(fired)
        return frames

    def named(self) -> dict[str, Tensor]:
        """Parameters under the names of our decoder."""
        names = {"readout.weight": self.readout.weight, "readout.bias": self.readout.bias}
        for k in range(2):
            names[f"convs.0.{k}.conv.weight"] = self.convs[k].weight
            names[f"convs.0.{k}.conv.bias"] = self.convs[k].bias
            names[f"convs.0.{k}.norm.weight"] = self.norms[k].weight
            names[f"convs.0.{k}.norm.bias"] = self.norms[k].bias
            names[f"nets.0.{k}.input.weight"] = self.inputs[k].weight
            names[f"nets.0.{k}.recurrent.weight"] = self.recurrents[k].weight
        return names


def job(net: Net, threads: int) -> Job:
    spikes, target = batch(WINDOWS, STEPS)
    spikes = spikes.float()

    def loss() -> Tensor:
        return (net(spikes) - target).square().mean()

    def result():
        net.dropout = 0.0
        net.zero_grad()
        found = gradients(loss(), compared(net.named()))
        net.dropout = DROPOUT
        return found

    return training_job(net.train(), stage_of("RTnet"), loss, threads, result)


def plain(*, threads: int) -> Job:
    net, theirs = Plain(), dict(decoder_of("RTnet").named_parameters())
    with torch.no_grad():
        for name, parameter in net.named().items():
            parameter.copy_(theirs[name])
    return job(net, threads)


def snntorch(*, threads: int) -> Job:
    import snntorch as snn

    class Leaky(Net):
        def __init__(self):
            super().__init__()
            gradient = snn.surrogate.fast_sigmoid(slope=SLOPE)
            self.inputs = nn.ModuleList(nn.Linear(n, UNITS, bias=False) for n in (WIDTH, UNITS))
            self.neurons = nn.ModuleList(
                snn.RLeaky(beta=DECAY, linear_features=UNITS, spike_grad=gradient) for _ in range(2)
            )

        def spike(self, frames: Tensor) -> Tensor:
            for inputs, neuron in zip(self.inputs, self.neurons, strict=True):
                z, v = neuron.init_rleaky()
                fired = []
                for current in inputs(frames):
                    z, v = neuron(current, z, v)
                    fired.append(z)
                frames = torch.stack(fired)
            return frames

    return job(Leaky(), threads)
