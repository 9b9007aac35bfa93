"""Training batches of tinyRSNN and bigRSNN."""

from __future__ import annotations

import torch
from common import CHANNELS, Spike, batch, decoder_of, gradients, stage_of, training_job
from rows import Job
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.config import Penalties
from spikereach.models.decoder import Trace
from spikereach.ops.common.dropout import draw_dropout
from spikereach.training.losses import penalty

DROPOUT = 0.3


def ours(system: str, windows: int, steps: int, *, threads: int) -> Job:
    decoder, stage = decoder_of(system), stage_of(system)
    spikes, target = batch(windows, steps)

    def loss() -> Tensor:
        trace = Trace()
        velocity = decoder.decode(spikes, trace=trace)
        error = (velocity - target).square().mean().sqrt()
        return error + penalty(decoder, trace, stage.penalties)

    def result():
        decoder.zero_grad()
        torch.manual_seed(7)
        return gradients(loss(), dict(decoder.named_parameters()))

    return training_job(decoder.train(), stage, loss, threads, result)


class Plain(nn.Module):
    """The same network as a loop of PyTorch operations, its input product hoisted."""

    def __init__(self, system: str):
        super().__init__()
        decoder = decoder_of(system)
        for name, parameter in decoder.named_parameters():
            setattr(self, name.replace(".", "_"), nn.Parameter(parameter.detach().clone()))
        self.names = [name for name, _ in decoder.named_parameters()]
        self.mem_tau, self.syn_tau = (
            torch.tensor(decoder.readouts).repeat_interleave(2, 0).T.contiguous()
        )

    def named(self) -> dict[str, Tensor]:
        return {name: getattr(self, name.replace(".", "_")) for name in self.names}

    def forward(self, x: Tensor, drawn: bool = False) -> tuple[Tensor, Tensor]:
        """``drawn``: the dropout of our decoder after the same seed."""
        keep = None
        hidden = (*x.shape[:2], len(self.mem_param))
        if drawn:
            x = draw_dropout(x.shape, DROPOUT, x.device)(x)
            dropout = draw_dropout(hidden, DROPOUT, x.device)
            keep = dropout.keep * dropout.scale
        else:
            x = F.dropout(x, DROPOUT)

        def decay(tau, parameter):
            return torch.exp(-4 / (tau * F.softplus(parameter)))

        mem, syn = decay(20, self.mem_param), decay(10, self.syn_param)
        out_mem = decay(self.mem_tau, self.readout_mem_param)
        out_syn = decay(self.syn_tau, self.readout_syn_param)
        currents = F.linear(x, self.input_weight)
        v = i = arriving = torch.zeros_like(currents[0])
        o = x.new_full((x.shape[1], len(out_mem)), -0.01)
        o_i = o_arriving = torch.zeros_like(o)
        velocity, fired = [], []
        for step, current in enumerate(currents):
            z = Spike.apply(v - 1, 20)
            v = (mem * v + (1 - mem) * i) * (1 - z.detach())
            i = syn * i + arriving
            o, o_i = out_mem * o + (1 - out_mem) * o_i, out_syn * o_i + o_arriving
            sent = F.dropout(z, DROPOUT) if keep is None else z * keep[step]
            arriving = current + F.linear(sent, self.recurrent_weight)
            o_arriving = F.linear(sent, self.readout_weight)
            velocity.append(o)
            fired.append(z)
        return torch.stack(velocity).unflatten(-1, (-1, 2)).mean(-2), torch.stack(fired)


def total(velocity: Tensor, target: Tensor, spikes: Tensor, penalties: Penalties) -> Tensor:
    """Root mean squared error and both regularisers."""
    counts = spikes.sum(0)
    quiet = torch.relu(1e-3 - counts).square().mean()
    busy = torch.relu(counts.mean(1) - 10).square().mean()
    error = (velocity - target).square().mean().sqrt()
    return error + penalties.spike_floor * quiet + penalties.spike_ceiling * busy


def job(net: nn.Module, system: str, windows: int, steps: int, threads: int) -> Job:
    stage = stage_of(system)
    spikes, target = batch(windows, steps)
    spikes = spikes.float()

    def loss(**options) -> Tensor:
        velocity, z = net(spikes, **options)
        return total(velocity, target, z, stage.penalties)

    def result():
        net.zero_grad()
        torch.manual_seed(7)
        return gradients(loss(drawn=True), net.named())

    return training_job(net.train(), stage, loss, threads, result)


def plain(system: str, windows: int, steps: int, *, threads: int) -> Job:
    return job(Plain(system), system, windows, steps, threads)


def units_of(system: str) -> tuple[int, int]:
    decoder = decoder_of(system)
    return decoder.recurrent.in_features, decoder.readout.out_features


def snntorch(system: str, windows: int, steps: int, *, threads: int) -> Job:
    import snntorch as snn

    class Net(nn.Module):
        def __init__(self, units: int, outputs: int):
            super().__init__()
            gradient = snn.surrogate.fast_sigmoid(slope=20)
            constants = {"learn_alpha": True, "learn_beta": True, "reset_mechanism": "zero"}
            self.input = nn.Linear(CHANNELS, units, bias=False)
            self.hidden = snn.RSynaptic(
                torch.full((units,), 0.7),
                torch.full((units,), 0.8),
                linear_features=units,
                spike_grad=gradient,
                **constants,
            )
            self.readout = nn.Linear(units, outputs, bias=False)
            self.output = snn.Synaptic(
                torch.full((outputs,), 0.7),
                torch.full((outputs,), 0.9),
                **constants | {"reset_mechanism": "none"},
            )
            nn.init.normal_(self.hidden.recurrent.weight, std=0.1 / units**0.5)
            nn.init.normal_(self.input.weight, std=0.4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            currents = self.input(F.dropout(x, DROPOUT))
            z, i, v = self.hidden.init_rsynaptic()
            o_i, o = self.output.init_synaptic()
            velocity, fired = [], []
            for current in currents:
                z, i, v = self.hidden(current, F.dropout(z, DROPOUT), i, v)
                _, o_i, o = self.output(self.readout(F.dropout(z, DROPOUT)), o_i, o)
                velocity.append(o)
                fired.append(z)
            return torch.stack(velocity).unflatten(-1, (-1, 2)).mean(-2), torch.stack(fired)

    return job(Net(*units_of(system)), system, windows, steps, threads)


def norse(system: str, windows: int, steps: int, *, threads: int) -> Job:
    import norse.torch as norse

    class Net(nn.Module):
        def __init__(self, units: int, outputs: int):
            super().__init__()
            parameters = norse.LIFParameters(
                tau_syn_inv=torch.tensor(100.0), tau_mem_inv=torch.tensor(50.0), alpha=20.0
            )
            self.hidden = norse.LIFRecurrentCell(CHANNELS, units, p=parameters, dt=0.004)
            self.output = norse.LICell(
                p=norse.LIParameters(torch.tensor(100.0), torch.tensor(20.0)), dt=0.004
            )
            self.readout = nn.Linear(units, outputs, bias=False)
            nn.init.normal_(self.hidden.input_weights, std=0.6)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = F.dropout(x, DROPOUT)
            state = leak = None
            velocity, fired = [], []
            for now in x:
                z, state = self.hidden(now, state)
                state = state._replace(z=F.dropout(z, DROPOUT))
                o, leak = self.output(self.readout(state.z), leak)
                velocity.append(o)
                fired.append(z)
            return torch.stack(velocity).unflatten(-1, (-1, 2)).mean(-2), torch.stack(fired)

    return job(Net(*units_of(system)), system, windows, steps, threads)


def spikingjelly(system: str, windows: int, steps: int, *, threads: int) -> Job:
    from spikingjelly.activation_based import functional, neuron, surrogate

    class Net(nn.Module):
        def __init__(self, units: int, outputs: int):
            super().__init__()
            self.input = nn.Linear(CHANNELS, units, bias=False)
            self.recurrent = nn.Linear(units, units, bias=False)
            self.hidden = neuron.LIFNode(
                tau=5.0,
                decay_input=False,
                v_reset=0.0,
                detach_reset=True,
                surrogate_function=surrogate.ATan(),
            )
            self.readout = nn.Linear(units, outputs, bias=False)
            self.output = neuron.NonSpikingLIFNode(tau=12.5)
            nn.init.normal_(self.input.weight, std=0.2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            functional.reset_net(self)
            currents = self.input(F.dropout(x, DROPOUT))
            sent, fired = [torch.zeros_like(currents[0])], []
            for current in currents:
                fired.append(self.hidden(current + self.recurrent(sent[-1])))
                sent.append(F.dropout(fired[-1], DROPOUT))
            velocity = torch.stack(self.output(self.readout(torch.stack(sent[1:]))))
            return velocity.unflatten(-1, (-1, 2)).mean(-2), torch.stack(fired)

    return job(Net(*units_of(system)), system, windows, steps, threads)
