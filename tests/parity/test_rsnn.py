"""RSNN against an independent implementation of Liu et al.'s equations, and its initialisation."""

import math

import pytest
import torch

from spikereach.models.rsnn import RSNN, kernel_energy
from spikereach.ops.common.record import recording
from spikereach.ops.current_lif.step import CurrentState
from spikereach.ops.integrator import scan_current_integrator


class Step(torch.autograd.Function):
    """The step function with the SuperSpike derivative, as the paper writes it."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient / (20 * x.abs() + 1) ** 2


def independent(decoder, spikes):
    """The paper's equations with lists and no shared code. Returns velocity and spikes."""
    p = dict(decoder.named_parameters())

    def exp_decay(tau, name):
        return torch.exp(-4 / (tau * torch.nn.functional.softplus(p[name])))

    d_mem, d_syn = exp_decay(20, "mem_param"), exp_decay(10, "syn_param")
    readouts = [
        (
            exp_decay(mem, "readout_mem_param")[2 * k : 2 * k + 2],
            exp_decay(syn, "readout_syn_param")[2 * k : 2 * k + 2],
            p["readout.weight"][2 * k : 2 * k + 2],
        )
        for k, (mem, syn) in enumerate(decoder.readouts)
    ]
    batch, units = spikes.shape[1], d_mem.numel()
    v = i = z = torch.zeros(batch, units)
    x = torch.zeros_like(spikes[0])
    out = [(torch.full((batch, 2), -0.01), torch.zeros(batch, 2)) for _ in readouts]
    velocities, fired = [], []
    for now in spikes:
        new_z = Step.apply(v - 1)
        new_i = d_syn * i + x @ p["input.weight"].T + z @ p["recurrent.weight"].T
        new_v = (d_mem * v + (1 - d_mem) * i) * (1 - new_z.detach())
        out = [
            (mem * o + (1 - mem) * s, syn * s + z @ weight.T)
            for (o, s), (mem, syn, weight) in zip(out, readouts, strict=True)
        ]
        v, i, z, x = new_v, new_i, new_z, now
        velocities.append(sum(o for o, _ in out) / len(out))
        fired.append(z)
    return torch.stack(velocities), torch.stack(fired)


@pytest.mark.parametrize("readouts", [((50, 10),), ((50, 10), (20, 5), (20, 20))])
def test_outputs_and_gradients_equal_an_independent_implementation(readouts):
    torch.manual_seed(0)
    decoder = RSNN(channels=20, hidden=30, readouts=readouts, dropout=0.0)
    decoder.input.weight.data *= 1.5
    spikes = (torch.rand(80, 4, 20) < 0.1).float()
    target = torch.randn(80, 4, 2)
    results = []
    for run in (lambda: independent(decoder, spikes), lambda: traced(decoder, spikes)):
        decoder.zero_grad()
        velocity, z = run()
        counts = z.sum(0)
        loss = (velocity - target).square().mean().sqrt()
        loss = loss + 0.01 * torch.relu(counts.mean(1) - 0.1).square().mean()
        loss.backward()
        results.append((velocity, z, [p.grad.clone() for p in decoder.parameters()]))
    (velocity, z, gradients), (our_velocity, our_z, our_gradients) = results
    assert z.sum() > 50
    assert torch.equal(z, our_z)
    torch.testing.assert_close(our_velocity, velocity, rtol=0, atol=1e-5)
    for ours, theirs in zip(our_gradients, gradients, strict=True):
        assert theirs.any()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def traced(decoder, spikes):
    with recording(decoder) as record:
        velocity, _ = decoder(spikes)
    return velocity, record.spikes["hidden"]


def test_first_output_is_the_read_outs_start_after_one_step():
    decoder = RSNN(channels=4)
    velocity, _ = decoder.eval()(torch.zeros(1, 1, 4))
    softplus = torch.nn.functional.softplus(decoder.readout_mem_param)
    torch.testing.assert_close(velocity[0, 0], -0.01 * torch.exp(-4 / (50 * softplus)))


def test_an_input_spike_takes_five_steps_to_the_output():
    decoder = RSNN(channels=4).eval()
    decoder.input.weight.data.fill_(100.0)
    spikes = torch.zeros(8, 1, 4)
    changed = spikes.clone()
    changed[0] = 1
    with torch.no_grad():
        difference = (decoder(spikes)[0] - decoder(changed)[0]).abs().sum((1, 2))
    assert difference.nonzero().min() == 5


def test_kernel_energy_tends_to_the_closed_form():
    """Rossbroich et al. 2022: tau_syn^2 / (2 (tau_syn + tau_mem)) in continuous time."""
    slow = kernel_energy(2000.0, 1000.0)
    assert slow == pytest.approx(1.0**2 / (2 * (1.0 + 2.0)), rel=0.01)


@pytest.mark.parametrize("rate", [5.0, 40.0])
def test_initial_membranes_fluctuate_as_designed(rate):
    """With Poisson input at the stated rate the membranes deviate by 0.5 (90 % from inputs)."""
    torch.manual_seed(0)
    decoder = RSNN(channels=400, hidden=200)
    decoder.initialise(torch.full((400,), rate), torch.Generator().manual_seed(3))
    for p in decoder.parameters():
        if p.dim() == 1:  # nominal time constants: softplus(p) = 1
            p.data.fill_(math.log(math.e - 1))
    assert decoder.recurrent.weight.std().item() == pytest.approx(
        decoder.input.weight.std().item() * math.sqrt(0.1 / 0.9 * 400 / 200), rel=0.02
    )
    spikes = torch.poisson(torch.full((600, 4, 400), rate * 0.004))
    membranes, _ = integrate(decoder, spikes)
    deviation = membranes[100:].var(dim=(0, 1)).mean().sqrt().item()
    assert deviation == pytest.approx(0.5 * math.sqrt(0.9), rel=0.05)


def integrate(decoder, spikes):
    with torch.no_grad():
        currents = decoder.input(spikes)
        zeros = torch.zeros_like(currents[0])
        return scan_current_integrator(
            currents, decoder._hidden_decays(), CurrentState(zeros, zeros, zeros)
        )


def test_initialisation_depends_on_its_generator_alone():
    decoders = [RSNN(channels=8) for _ in range(2)]
    for seed, decoder in enumerate(decoders):
        torch.manual_seed(seed)
        decoder.initialise(torch.full((8,), 10.0), torch.Generator().manual_seed(7))
    for ours, theirs in zip(*(d.parameters() for d in decoders), strict=True):
        assert torch.equal(ours, theirs)
    drawn = decoders[0].mem_param, decoders[0].syn_param
    assert all(((p >= 0) & (p < 1)).all() for p in drawn)
    assert (decoders[0].readout_mem_param == 1).all()
    assert (decoders[0].readout_syn_param == 1).all()
    with pytest.raises(ValueError, match="no spikes"):
        decoders[0].initialise(torch.zeros(8), torch.Generator())


def test_dropout_acts_in_training_only_and_spares_the_regularised_spikes():
    torch.manual_seed(0)
    decoder = RSNN(channels=50, dropout=0.5)
    decoder.input.weight.data *= 2
    spikes = (torch.rand(120, 3, 50) < 0.2).float()
    velocity, z = traced(decoder, spikes)
    again, _ = traced(decoder, spikes)
    assert not torch.equal(velocity, again)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    decoder.eval()
    assert torch.equal(traced(decoder, spikes)[0], traced(decoder, spikes)[0])
