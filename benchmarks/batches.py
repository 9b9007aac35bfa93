"""Training batches of tinyRSNN, bigRSNN and RTnet."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from common import CHANNELS, CONFIG, decoder_of, recording
from rows import SPIKES, Job
from torch import Tensor, nn

from spikereach.models.decoder import Decoder
from spikereach.models.hybrid import Chain
from spikereach.models.recurrent_lif import RecurrentLIF
from spikereach.ops.common import record
from spikereach.ops.common.backends import only
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.current_lif.step import current_integrator_step, current_lif_step
from spikereach.training import loop, optimisers

DROPOUT = 0.3


class Peer(nn.Module):
    """A network of another library, trained as a decoder is; subclasses have the neurons."""

    takes_bytes = False
    drawn = False
    """Whether dropout is that of our decoder after the same seed."""

    def decode_standardised(self, spikes: Tensor) -> Tensor:
        """Velocity (T, B, 2) of spikes (T, B, C)."""
        outputs, fired = self.loop(spikes)
        record.note_spikes("hidden", torch.stack(fired))
        return torch.stack(tuple(outputs)).unflatten(-1, (-1, 2)).mean(-2)

    def training_pairs(self, spikes: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode_standardised(spikes), velocity

    def loop(self, spikes: Tensor) -> tuple[Iterable[Tensor], list[Tensor]]:
        """Outputs and hidden spikes of every step."""
        raise NotImplementedError


class Plain(Peer):
    """Our parameters and equations in a loop of PyTorch operations, the input product hoisted."""

    def __init__(self, system: str):
        super().__init__()
        self.ours = decoder_of(system)

    def loop(self, spikes):
        ours, received = self.ours, nn.Dropout(DROPOUT)
        sent = [received] * len(spikes)
        if self.drawn:
            received = draw_dropout(spikes.shape, DROPOUT, spikes.device)
            units = (*spikes.shape[:2], ours.recurrent.in_features)
            dropout = draw_dropout(units, DROPOUT, spikes.device)
            sent = [partial(torch.mul, kept) for kept in dropout.keep * dropout.scale]
        decays, leaks = ours._hidden_decays(), ours._readout_decays()
        hidden, readout = ours.init_state(spikes.shape[1])
        outputs, fired = [], []
        for current, drop in zip(ours.input(received(spikes)), sent, strict=True):
            z, hidden = current_lif_step(hidden, decays, surrogate=ours.surrogate)
            readout = current_integrator_step(readout, leaks)
            outputs.append(readout.v)
            fired.append(z)
            z = drop(z)
            hidden = hidden._replace(arriving=current + ours.recurrent(z))
            readout = readout._replace(arriving=ours.readout(z))
        return outputs, fired


class Net(Peer):
    """Our layers' sizes and dropout."""

    def __init__(self, system: str):
        super().__init__()
        decoder = decoder_of(system)
        self.units, self.outputs = decoder.recurrent.in_features, decoder.readout.out_features
        self.input = nn.Linear(CHANNELS, self.units, bias=False)
        self.readout = nn.Linear(self.units, self.outputs, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def loop(self, spikes):
        states = [self.start()]
        for current in self.input(self.dropout(spikes)):
            states.append(self.step(current, states[-1]))
        return [state[-1] for state in states[1:]], [state[0] for state in states[1:]]

    def start(self) -> tuple:
        """Before the first step: hidden spikes first, outputs last."""
        raise NotImplementedError

    def step(self, current: Tensor, state: tuple) -> tuple:
        raise NotImplementedError


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


class Norse(Net):
    def __init__(self, system: str):
        import norse.torch as norse

        super().__init__(system)
        parameters = norse.LIFParameters(
            tau_syn_inv=torch.tensor(100.0), tau_mem_inv=torch.tensor(50.0), alpha=20.0
        )
        leaks = norse.LIParameters(torch.tensor(100.0), torch.tensor(20.0))
        self.input = nn.Identity()  # the cell has the weights
        self.hidden = norse.LIFRecurrentCell(CHANNELS, self.units, p=parameters, dt=0.004)
        self.output = norse.LICell(p=leaks, dt=0.004)
        nn.init.normal_(self.hidden.input_weights, std=0.6)

    def start(self):
        return (None,) * 4

    def step(self, now, state):
        _, cell, leak, _ = state
        z, cell = self.hidden(now, cell)
        cell = cell._replace(z=self.dropout(z))
        o, leak = self.output(self.readout(cell.z), leak)
        return z, cell, leak, o


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
        currents = self.input(self.dropout(spikes))
        sent, fired = [torch.zeros_like(currents[0])], []
        for current in currents:
            fired.append(self.hidden(current + self.recurrent(sent[-1])))
            sent.append(self.dropout(fired[-1]))
        return self.output(self.readout(torch.stack(sent[1:]))), fired


class RLeaky(nn.Module):
    """A recurrent layer of ours with snnTorch's neurons."""

    def __init__(self, ours: RecurrentLIF):
        import snntorch as snn

        super().__init__()
        self.input = ours.input
        self.neuron = snn.RLeaky(
            beta=ours.constants.decay,
            linear_features=ours.units,
            spike_grad=snn.surrogate.fast_sigmoid(slope=5.0),
        )

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        return self.neuron.init_rleaky()

    def forward(self, x, state, buffer_format):
        states = [state]
        for current in self.input(x):
            states.append(self.neuron(current, *states[-1]))
        spikes = torch.stack([z for z, _ in states[1:]])
        record.note_spikes("hidden", spikes)
        return spikes, states[-1]


def snntorch_rtnet(system: str) -> Decoder:
    decoder = decoder_of(system)
    decoder.nets[0] = Chain(map(RLeaky, decoder.nets[0]))
    return decoder


def training(
    network: Callable[[str], nn.Module],
    system: str,
    windows: int,
    steps: int,
    dtype: torch.dtype = torch.float32,
) -> Job:
    """Updates of a network by the recipe of a system; a peer takes the place of the decoder."""
    net, stage = network(system).to(dtype).train(), CONFIG.systems[system].training.finetune
    spikes, target = map(torch.from_numpy, recording(1, steps, windows))
    if not net.takes_bytes or dtype is not torch.float32:
        spikes = spikes.to(dtype)
    target = target.to(dtype)
    optimiser = optimisers.build(stage, list(net.parameters()))
    update = partial(loop.step, net, optimiser, stage)
    initial = deepcopy(net.state_dict())

    def result(kept: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Hidden spikes and velocities of the first update, and its gradients but for biases in
        front of batch norms: those are rounding errors."""
        part = [each if kept is None else each[:, kept] for each in (spikes, target)]
        net.load_state_dict(initial)
        net.drawn = True
        torch.manual_seed(7)
        with record.recording(net) as noted:
            velocity = net.decode_standardised(part[0]).detach().numpy()
        torch.manual_seed(7)
        update(*part)
        net.drawn = False
        fired = {SPIKES + name: (z != 0).numpy() for name, z in noted.spikes.items()}
        named = {name.removeprefix("ours."): p.grad for name, p in net.named_parameters()}
        named = {name: g.numpy() for name, g in named.items() if not name.endswith("conv.bias")}
        return fired | named | {"velocity": velocity}

    return Job(partial(update, spikes, target), result, warm=2)


def stepwise(network: Callable[[str], nn.Module], *arguments) -> Job:
    """A decoder of plain PyTorch modules, whose recurrent layers are called step by step."""
    job, reference = training(network, *arguments), only("reference")
    return replace(job, run=reference(job.run), result=reference(job.result))


def plain(system: str, *arguments) -> Job:
    """The very equations of ours."""
    if system == "RTnet":
        return stepwise(decoder_of, system, *arguments)
    return training(Plain, system, *arguments)


def exact(*arguments) -> Job:
    """The very equations in float64, states that a decoder begins with among them."""
    job = plain(*arguments, torch.float64)

    def result(*kept: np.ndarray) -> dict[str, np.ndarray]:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return job.result(*kept)
        finally:
            torch.set_default_dtype(before)

    return replace(job, result=result)


def snntorch(system: str, *arguments) -> Job:
    if system == "RTnet":
        return stepwise(snntorch_rtnet, system, *arguments)
    return training(SnnTorch, system, *arguments)


ours, norse, spikingjelly = (
    partial(training, network) for network in (decoder_of, Norse, SpikingJelly)
)
