"""Decoding bin by bin."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from common import CHANNELS, RATE, decoder_of
from hybrid import DECAY, SLOPE, UNITS, WIDTH
from rows import Job
from torch import Tensor, nn

from spikereach.models.decoder import Decoder

BINS = 3000


def job(step: Callable[[np.ndarray], object]) -> Job:
    """Feed the bins; the figures are of single bins."""
    bins = (np.random.default_rng(3).random((BINS, CHANNELS)) < RATE).astype(np.uint8)

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

    return Job(run, warm=1)


def deployed(system: str) -> Decoder:
    system, _, precision = system.partition("-")
    decoder = decoder_of(system).eval()
    decoder.fold()
    if precision:
        decoder.half()
    if system == "sRTnet":
        decoder.buffer_format = (1, 4)
    return decoder


def ours(system: str, *, threads: int) -> Job:
    torch.set_num_threads(1)
    return job(deployed(system).streamer())


def plain(system: str, *, threads: int) -> Job:
    torch.set_num_threads(1)
    return job(Decoder.streamer(deployed(system)))


def snntorch(system: str, *, threads: int) -> Job:
    import snntorch as snn

    torch.set_num_threads(1)
    gradient = snn.surrogate.fast_sigmoid(slope=20)

    class SNN2(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(CHANNELS, 50, bias=False)
            self.lif1 = snn.Leaky(beta=0.96, spike_grad=gradient, reset_mechanism="zero")
            self.fc_out = nn.Linear(50, 2, bias=False)
            self.lif_out = snn.Leaky(beta=0.96, spike_grad=gradient, reset_mechanism="none")
            self.mem, self.out = self.lif1.init_leaky(), self.lif_out.init_leaky()

        def forward(self, x: Tensor) -> Tensor:
            z, self.mem = self.lif1(self.fc1(x), self.mem)
            _, self.out = self.lif_out(self.fc_out(z), self.out)
            return self.out

    class RSNN(nn.Module):
        def __init__(self, units: int, outputs: int):
            super().__init__()
            self.input = nn.Linear(CHANNELS, units, bias=False)
            self.hidden = snn.RSynaptic(
                torch.full((units,), 0.7),
                torch.full((units,), 0.8),
                linear_features=units,
                spike_grad=gradient,
                reset_mechanism="zero",
            )
            self.readout = nn.Linear(units, outputs, bias=False)
            self.output = snn.Synaptic(
                torch.full((outputs,), 0.7),
                torch.full((outputs,), 0.9),
                reset_mechanism="none",
            )
            self.state = self.hidden.init_rsynaptic()
            self.leak = self.output.init_synaptic()

        def forward(self, x: Tensor) -> Tensor:
            self.state = self.hidden(self.input(x), *self.state)
            _, *self.leak = self.output(self.readout(self.state[0]), *self.leak)
            return self.leak[-1].unflatten(-1, (-1, 2)).mean(-2)

    class RTnet(nn.Module):
        """Every fourth bin the convolutions run over the 46 bins that one keypoint needs."""

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv1d(CHANNELS, WIDTH, 9),
                nn.MaxPool1d(2),
                nn.Conv1d(WIDTH, WIDTH, 18),
                nn.MaxPool1d(2),
            )
            self.inputs = nn.ModuleList(nn.Linear(n, UNITS, bias=False) for n in (WIDTH, UNITS))
            self.neurons = nn.ModuleList(
                snn.RLeaky(
                    beta=DECAY,
                    linear_features=UNITS,
                    spike_grad=snn.surrogate.fast_sigmoid(slope=SLOPE),
                )
                for _ in range(2)
            )
            self.states = [neuron.init_rleaky() for neuron in self.neurons]
            self.readout = nn.Linear(UNITS, 2)
            self.latest = torch.zeros(1, CHANNELS, 46)
            self.seen = 0

        def forward(self, x: Tensor) -> Tensor | None:
            self.latest = torch.cat([self.latest[:, :, 1:], x[:, :, None]], 2)
            self.seen += 1
            if self.seen % 4:
                return None
            z = self.layers(self.latest)[:, :, 0]
            for layer in range(2):
                z, v = self.neurons[layer](self.inputs[layer](z), *self.states[layer])
                self.states[layer] = z, v
            return self.readout(z)

    if system == "SNN2":
        net = SNN2()
    elif system in ("RTnet", "sRTnet"):
        net = RTnet()
    else:
        decoder = deployed(system)
        net = RSNN(decoder.recurrent.in_features, decoder.readout.out_features)
    net.eval()

    def step(spikes: np.ndarray) -> object:
        with torch.inference_mode():
            return net(torch.from_numpy(spikes).float()[None])

    return job(step)
