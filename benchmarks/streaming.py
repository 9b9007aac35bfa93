"""Decoding bin by bin."""

import time
from collections.abc import Callable

import numpy as np
import torch
from batches import SnnTorch, snntorch_rtnet
from common import CHANNELS, decoder_of, recording
from rows import Job
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.models.decoder import Decoder

BINS = 3000


def job(step: Callable[[np.ndarray], object]) -> Job:
    """Feed the bins; the figures are of single bins."""
    bins, _ = recording(3, BINS)

    def run() -> dict[str, float]:
        wall, cpu = np.empty(BINS), np.empty(BINS)
        for number, spikes in enumerate(bins):
            begun, worked = time.perf_counter_ns(), time.thread_time_ns()
            step(spikes)
            cpu[number] = time.thread_time_ns() - worked
            wall[number] = time.perf_counter_ns() - begun
        return {
            "median_s": float(np.median(wall)) * 1e-9,
            "p99_s": float(np.percentile(wall, 99)) * 1e-9,
            "p99_cpu_s": float(np.percentile(cpu, 99)) * 1e-9,
        }

    return Job(run, figures=True)


def deployed(system: str) -> Decoder:
    system, _, precision = system.partition("-")
    decoder = decoder_of(system).eval()
    decoder.fold()
    if precision:
        decoder.half()
    if system == "sRTnet":
        decoder.buffer_format = (1, 4)
    return decoder


def ours(system: str) -> Job:
    return job(deployed(system).standardised_streamer())


def plain(system: str) -> Job:
    return job(Decoder.standardised_streamer(deployed(system)))


class SNN2(nn.Module):
    def __init__(self, system: str):
        import snntorch as snn

        super().__init__()
        gradient = snn.surrogate.fast_sigmoid(slope=20)
        self.fc1 = nn.Linear(CHANNELS, 50, bias=False)
        self.lif1 = snn.Leaky(beta=0.96, spike_grad=gradient, reset_mechanism="zero")
        self.fc_out = nn.Linear(50, 2, bias=False)
        self.lif_out = snn.Leaky(beta=0.96, spike_grad=gradient, reset_mechanism="none")
        self.mem, self.out = self.lif1.init_leaky(), self.lif_out.init_leaky()

    def forward(self, x: Tensor) -> Tensor:
        z, self.mem = self.lif1(self.fc1(x), self.mem)
        _, self.out = self.lif_out(self.fc_out(z), self.out)
        return self.out


class RSNN(SnnTorch):
    def __init__(self, system: str):
        super().__init__(system)
        self.state = self.start()

    def forward(self, x: Tensor) -> Tensor:
        self.state = self.step(self.input(x), self.state)
        return self.state[-1].unflatten(-1, (-1, 2)).mean(-2)


class RTnet(nn.Module):
    """Every fourth bin the convolutions run over the 46 bins that one keypoint needs."""

    def __init__(self, system: str):
        super().__init__()
        self.ours = snntorch_rtnet(system)
        self.ours.fold()
        self.states = [layer.init_state(1) for layer in self.ours.nets[0]]
        self.latest = torch.zeros(1, CHANNELS, 46)
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor | None:
        self.latest = torch.cat([self.latest[:, :, 1:], x[:, :, None]], 2)
        self.seen += 1
        if self.seen % 4:
            return None
        z = self.latest
        for block in self.ours.convs[0]:
            z = F.max_pool1d(block.conv(z), 2)
        z = z[:, :, 0]
        for number, layer in enumerate(self.ours.nets[0]):
            z, _ = self.states[number] = layer.neuron(layer.input(z), *self.states[number])
        return self.ours.readout(z)


def snntorch(system: str) -> Job:
    networks = {"SNN2": SNN2, "RTnet": RTnet, "sRTnet": RTnet}
    system = system.removesuffix("-float16")
    net = networks.get(system, RSNN)(system).eval()

    def step(spikes: np.ndarray) -> object:
        with torch.inference_mode():
            return net(torch.from_numpy(spikes).float()[None])

    return job(step)
