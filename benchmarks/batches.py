"""Training batches of tinyRSNN, bigRSNN and RTnet."""

from __future__ import annotations

import math
from functools import partial

import torch
from common import CHANNELS, Peer, Spike, decoder_of, training
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.ops.common.dropout import draw_dropout

DROPOUT = 0.3
SLOPE, DECAY = 5.0, math.exp(-16 / 150)  # of RTnet's neurons


class Net(Peer):
    """Our layers' sizes and dropout; subclasses have the neurons."""

    def __init__(self, system: str):
        super().__init__()
        decoder = decoder_of(system)
        self.units, self.outputs = decoder.recurrent.in_features, decoder.readout.out_features
        self.input = nn.Linear(CHANNELS, self.units, bias=False)
        self.readout = nn.Linear(self.units, self.outputs, bias=False)

    def dropout(self, values: Tensor) -> Tensor:
        return F.dropout(values, DROPOUT, self.training)

    def run(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        outputs, fired = self.loop(self.dropout(spikes))
        return torch.stack(outputs).unflatten(-1, (-1, 2)).mean(-2), torch.stack(fired)

    def loop(self, spikes: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs and hidden spikes of every step."""
        raise NotImplementedError


class Plain(Peer):
    """Our parameters in a loop of PyTorch operations, the input product hoisted."""

    def __init__(self, system: str):
        super().__init__()
        self.ours = decoder_of(system)
        self.mem_tau, self.syn_tau = (
            torch.tensor(self.ours.readouts).repeat_interleave(2, 0).T.contiguous()
        )

    def run(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        ours, keep = self.ours, None
        if self.drawn:
            spikes = draw_dropout(spikes.shape, DROPOUT, spikes.device)(spikes)
            hidden = (*spikes.shape[:2], len(ours.mem_param))
            dropout = draw_dropout(hidden, DROPOUT, spikes.device)
            keep = dropout.keep * dropout.scale
        else:
            spikes = F.dropout(spikes, DROPOUT)

        def decay(tau, parameter):
            return torch.exp(-4 / (tau * F.softplus(parameter)))

        mem, syn = decay(20, ours.mem_param), decay(10, ours.syn_param)
        out_mem = decay(self.mem_tau, ours.readout_mem_param)
        out_syn = decay(self.syn_tau, ours.readout_syn_param)
        currents = F.linear(spikes, ours.input.weight)
        v = i = arriving = torch.zeros_like(currents[0])
        o = spikes.new_full((spikes.shape[1], len(out_mem)), -0.01)
        o_i = o_arriving = torch.zeros_like(o)
        velocity, fired = [], []
        for step, current in enumerate(currents):
            z = Spike.apply(v - 1, 20)
            v = (mem * v + (1 - mem) * i) * (1 - z.detach())
            i = syn * i + arriving
            o, o_i = out_mem * o + (1 - out_mem) * o_i, out_syn * o_i + o_arriving
            sent = F.dropout(z, DROPOUT) if keep is None else z * keep[step]
            arriving = current + F.linear(sent, ours.recurrent.weight)
            o_arriving = F.linear(sent, ours.readout.weight)
            velocity.append(o)
            fired.append(z)
        return torch.stack(velocity).unflatten(-1, (-1, 2)).mean(-2), torch.stack(fired)


class SnnTorch(Net):
    def __init__(self, system: str):
        import snntorch as snn

        super().__init__(system)

        def decays(count: int, *values: float) -> list[Tensor]:
            return [torch.full((count,), value) for value in values]

        learnt = {"learn_alpha": True, "learn_beta": True}
        self.hidden = snn.RSynaptic(
            *decays(self.units, 0.7, 0.8),
            linear_features=self.units,
            spike_grad=snn.surrogate.fast_sigmoid(slope=20),
            reset_mechanism="zero",
            **learnt,
        )
        output = decays(self.outputs, 0.7, 0.9)
        self.output = snn.Synaptic(*output, reset_mechanism="none", **learnt)
        nn.init.normal_(self.hidden.recurrent.weight, std=0.1 / self.units**0.5)
        nn.init.normal_(self.input.weight, std=0.4)

    def start(self) -> tuple[Tensor, ...]:
        return *self.hidden.init_rsynaptic(), *self.output.init_synaptic()

    def step(self, current: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z, i, v, o_i, o = state
        z, i, v = self.hidden(current, self.dropout(z), i, v)
        _, o_i, o = self.output(self.readout(self.dropout(z)), o_i, o)
        return z, i, v, o_i, o

    def loop(self, spikes):
        states = [self.start()]
        for current in self.input(spikes):
            states.append(self.step(current, states[-1]))
        return [state[-1] for state in states[1:]], [state[0] for state in states[1:]]


class Norse(Net):
    def __init__(self, system: str):
        import norse.torch as norse

        super().__init__(system)
        parameters = norse.LIFParameters(
            tau_syn_inv=torch.tensor(100.0), tau_mem_inv=torch.tensor(50.0), alpha=20.0
        )
        leaks = norse.LIParameters(torch.tensor(100.0), torch.tensor(20.0))
        self.hidden = norse.LIFRecurrentCell(CHANNELS, self.units, p=parameters, dt=0.004)
        self.output = norse.LICell(p=leaks, dt=0.004)
        nn.init.normal_(self.hidden.input_weights, std=0.6)

    def loop(self, spikes):
        state = leak = None
        outputs, fired = [], []
        for now in spikes:
            z, state = self.hidden(now, state)
            state = state._replace(z=self.dropout(z))
            o, leak = self.output(self.readout(state.z), leak)
            outputs.append(o)
            fired.append(z)
        return outputs, fired


class SpikingJelly(Net):
    def __init__(self, system: str):
        from spikingjelly.activation_based import neuron, surrogate

        super().__init__(system)
        self.recurrent = nn.Linear(self.units, self.units, bias=False)
        self.hidden = neuron.LIFNode(
            tau=5.0,
            decay_input=False,
            v_reset=0.0,
            detach_reset=True,
            surrogate_function=surrogate.ATan(),
        )
        self.output = neuron.NonSpikingLIFNode(tau=12.5)
        nn.init.normal_(self.input.weight, std=0.2)

    def loop(self, spikes):
        self.hidden.reset()
        currents = self.input(spikes)
        sent, fired = [torch.zeros_like(currents[0])], []
        for current in currents:
            fired.append(self.hidden(current + self.recurrent(sent[-1])))
            sent.append(self.dropout(fired[-1]))
        return self.output(self.readout(torch.stack(sent[1:]))), fired


class PlainRTnet(Peer):
    """Our convolutions and parameters as modules, and a loop over keypoints."""

    def __init__(self, system: str):
        super().__init__()
        self.ours = decoder_of(system)
        self.blocks = tuple(self.ours.convs[0])
        self.silence = self.ours.timing.lookahead  # after it the last velocity of a window is known

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


class SnnTorchRTnet(PlainRTnet):
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


def plain_network(system: str) -> Peer:
    return PlainRTnet(system) if system == "RTnet" else Plain(system)


def snntorch_network(system: str) -> Peer:
    return SnnTorchRTnet(system) if system == "RTnet" else SnnTorch(system)


ours, plain, snntorch, norse, spikingjelly = (
    partial(training, network)
    for network in (decoder_of, plain_network, snntorch_network, Norse, SpikingJelly)
)
