"""Training against the systems' equations, written out here once more and in double precision.

Each system makes two updates of :func:`spikereach.training.loop.train` by its recipe in
``config.yaml``, on few and short windows. For each update an implementation that shares no code
with the package starts from the same weights, windows and random draws. Gradients of every
parameter, the weights after the optimiser's step and the batch norms' running statistics must
be equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

from spikereach import config
from spikereach.data.binning import BinnedSession
from spikereach.models import hybrid, rsnn, vasilache
from spikereach.models.zoo import build
from spikereach.training.loop import train
from training_cases import run_options

CHANNELS = 96
BATCH = 4
UPDATES = 2
STRIDE = 40
TOLERANCE = 1e-5

Weights = dict[str, Tensor]


# ---- The systems, by their papers' equations. Weights have the names of the state dict. ---------


class Spike(torch.autograd.Function):
    """1 above zero; backward 1 / (slope |x| + 1)^2."""

    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient / (ctx.slope * x.abs() + 1) ** 2, None


@dataclass
class Result:
    """What an independent implementation made of (T, B, C) spikes."""

    velocity: Tensor
    """(T, B, 2)"""
    membranes: list[Tensor] = field(default_factory=list)
    """Distances from the threshold, of every neuron and step."""
    penalty: Tensor | float = 0.0
    statistics: Weights = field(default_factory=dict)
    """Running statistics of batch norms after the pass."""


def tiny_rsnn(w: Weights, spikes: Tensor, update: Update, sizes: dict) -> Result:
    """Liu et al. 2024; spikes are counted before dropout, which all that units send passes."""
    x, sending = spikes, torch.ones(len(spikes), 1, 1)
    if sizes["dropout"]:
        masked, sending = update.masks
        x = spikes * masked

    def decay(tau_ms, name):
        return torch.exp(-4 / (tau_ms * torch.log(1 + torch.exp(w[name]))))

    mem, syn = decay(20, "mem_param"), decay(10, "syn_param")
    out_mem, out_syn = decay(50, "readout_mem_param"), decay(10, "readout_syn_param")
    _, batch, _ = x.shape
    v = i = sent = x.new_zeros(batch, 64)
    o, o_i = x.new_full((batch, 2), -0.01), x.new_zeros(batch, 2)
    before = torch.zeros_like(x[0])
    result, velocity, count = Result(o), [], 0
    for t, now in enumerate(x):
        z = Spike.apply(v - 1, 20.0)
        result.membranes.append(v - 1)
        o, o_i = (
            out_mem * o + (1 - out_mem) * o_i,
            out_syn * o_i + sent @ w["readout.weight"].T,
        )
        arriving = before @ w["input.weight"].T + sent @ w["recurrent.weight"].T
        v, i = (mem * v + (1 - mem) * i) * (1 - z.detach()), syn * i + arriving
        sent = z * sending[t]
        before = now
        count = count + z
        velocity.append(o)
    result.velocity = torch.stack(velocity)
    floor = 100 * torch.relu(1e-3 - count).square().mean()
    ceiling = 0.01 * torch.relu(count.mean(1) - 10).square().mean()
    assert floor > 1e-6, "no silent units"
    assert ceiling > 1e-2, "too few spikes"
    result.penalty = floor + ceiling
    return result


def snn2(w: Weights, spikes: Tensor, update: Update, sizes: dict) -> Result:
    """NeuroBench's SNN2 in snnTorch.

    ``zero_and_input`` is the rule of its version 0.7.0: a step that resets drops its input too.
    """
    surrogate = snntorch.surrogate.fast_sigmoid(slope=sizes.get("slope", 20))
    hidden = snntorch.Leaky(beta=0.96, threshold=1, spike_grad=surrogate, reset_mechanism="zero")
    output = snntorch.Leaky(beta=0.96, spike_grad=surrogate, reset_mechanism="none")
    (mask,) = update.masks
    currents = spikes @ w["fc1.weight"].T * mask
    assert sizes["reset"] in ("zero", "zero_and_input")
    z = mem = torch.zeros_like(currents[0])
    out = spikes.new_zeros(spikes.shape[1], 2)
    result, velocity = Result(out), []
    for current in currents:
        if sizes["reset"] == "zero_and_input":
            current = current * (1 - z.detach())
        z, mem = hidden(current, mem)
        _, out = output(z.double() @ w["fc_out.weight"].T, out)
        result.membranes.append(mem - 1)
        velocity.append(out)
    result.velocity = torch.stack(velocity)
    return result


def between(keypoints: Tensor, period: int) -> Tensor:
    """Velocities from the first keypoint to just before the last."""
    weights = torch.arange(period, dtype=keypoints.dtype) / period
    start, end = keypoints[:-1, None], keypoints[1:, None]
    steps = start + (end - start) * weights[:, None, None]
    return steps.reshape(-1, *keypoints.shape[1:])


def gru_t2(w: Weights, spikes: Tensor, update: Update, sizes: dict) -> Result:
    """Vasilache et al. 2024; torch's GRU cell, its candidate with a bias inside the reset."""
    hidden, (*pooled, (mask,)) = update.hidden, update.masks
    assert 1.5 < hidden.abs().max() < 6, "initial states are not standard normal"
    x = spikes.permute(1, 2, 0)
    for block, padding in ((0, 3), (1, 1)):
        weight, bias = w[f"convs.{block}.weight"], w[f"convs.{block}.bias"]
        x = F.max_pool1d(F.conv1d(x, weight, bias, padding=padding), 2) * pooled[block]
    states = []
    for frame in x.permute(2, 0, 1):
        given = frame @ w["cell.weight_ih"].T + w["cell.bias_ih"]
        recalled = hidden @ w["cell.weight_hh"].T + w["cell.bias_hh"]
        r = torch.sigmoid(given[:, :20] + recalled[:, :20])
        z = torch.sigmoid(given[:, 20:40] + recalled[:, 20:40])
        n = torch.tanh(given[:, 40:] + r * recalled[:, 40:])
        hidden = (1 - z) * n + z * hidden
        states.append(hidden)
    h = torch.stack(states)
    centred = h - h.mean(2, keepdim=True)
    h = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
    h = (h * w["layer_norm.weight"] + w["layer_norm.bias"]) * mask
    x_y = [h @ w[f"readout_{axis}.weight"].T + w[f"readout_{axis}.bias"] for axis in "xy"]
    # a keypoint is the velocity of the step before it, not of the one after it
    return Result(between(torch.cat(x_y, 2).flip(0), 4).flip(0))


def rtnet(w: Weights, spikes: Tensor, update: Update, sizes: dict) -> Result:
    """Krausse et al. 2025; silence follows each window, as after the end of a recording."""
    steps, batch, _ = spikes.shape
    # A velocity is known at most 26 steps later. The last two of these silent steps reach no
    # keypoint, only the batch norms' statistics.
    x = torch.cat([spikes, spikes.new_zeros(26, batch, CHANNELS)]).permute(1, 2, 0)
    result = Result(x)
    for block, kernel in ((0, 9), (1, 18)):
        name = f"convs.0.{block}"
        x = F.pad(x, (kernel // 2, 0))
        x = F.conv1d(x, w[f"{name}.conv.weight"], w[f"{name}.conv.bias"])
        mean, count = x.mean((0, 2)), x.shape[0] * x.shape[2]
        variance = (x - mean[:, None]).square().mean((0, 2))
        for key, now in (("mean", mean), ("var", variance * count / (count - 1))):
            before = w[f"{name}.norm.running_{key}"]
            result.statistics[f"{name}.norm.running_{key}"] = 0.9 * before + 0.1 * now.detach()
        x = (x - mean[:, None]) / (variance[:, None] + 1e-5).sqrt()
        x = x * w[f"{name}.norm.weight"][:, None] + w[f"{name}.norm.bias"][:, None]
        x = F.max_pool1d(x, 2)
        if sizes["dropout"]:
            x = x * update.masks[block].transpose(1, 2)
    alpha = math.exp(-16 / sizes.get("tau_mem_ms", 150.0))
    slope = sizes.get("slope", 5.0)
    frames = x.permute(2, 0, 1)
    assert len(frames) == steps / 4 + 1
    for layer in ("nets.0.0", "nets.0.1"):
        v = z = frames.new_zeros(batch, 56)
        fired = []
        for frame in frames:
            current = frame @ w[f"{layer}.input.weight"].T + z @ w[f"{layer}.recurrent.weight"].T
            v = alpha * v + current - z.detach()
            z = Spike.apply(v - 1, slope)
            result.membranes.append(v - 1)
            fired.append(z)
        frames = torch.stack(fired)
    result.velocity = between(frames @ w["readout.weight"].T + w["readout.bias"], 4)
    return result


# ---- Optimisers -----------------------------------------------------------------------------


class Adam:
    """Kingma & Ba 2015, algorithm 1."""

    def __init__(self, learning_rate: float):
        self.rate, self.t, self.m, self.v = learning_rate, 0, {}, {}

    def step(self, weights: Weights, gradients: Weights) -> Weights:
        self.t += 1
        after = {}
        for name, g in gradients.items():
            m = self.m[name] = 0.9 * self.m.get(name, 0) + 0.1 * g
            v = self.v[name] = 0.999 * self.v.get(name, 0) + 0.001 * g**2
            m, v = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
            after[name] = weights[name] - self.rate * m / (v.sqrt() + 1e-8)
        return after


class SMORMS3:
    """Funk 2015."""

    def __init__(self, learning_rate: float):
        self.rate, self.state = learning_rate, {}

    def step(self, weights: Weights, gradients: Weights) -> Weights:
        after = {}
        for name, grad in gradients.items():
            mem, g, g2 = self.state.get(name, (torch.ones_like(grad), 0, 0))
            r = 1 / (mem + 1)
            g, g2 = (1 - r) * g + r * grad, (1 - r) * g2 + r * grad**2
            x = g * g / (g2 + 1e-16)
            after[name] = weights[name] - grad * x.clamp(max=self.rate) / (g2.sqrt() + 1e-16)
            self.state[name] = (1 + mem * (1 - x), g, g2)
        return after


@dataclass(frozen=True)
class Case:
    """How a system is trained by its paper; None: open, as configured."""

    system: str
    network: Callable[[Weights, Tensor, Update, dict], Result]
    optimiser: type[Adam] | type[SMORMS3]
    learning_rate: float | None
    train_share: float
    standardised: bool
    root: bool = False
    """whether the loss is the root of the mean squared error"""
    clipped: bool = False
    summed: bool = False
    """whether the errors of x and y are added up instead of averaged"""
    window: int = 120
    steps: int = 2400
    """of the session; the validation part must hold one window"""
    sizes: dict = field(default_factory=dict)
    """other than configured"""


CASES = {
    "tinyRSNN": Case(
        "tinyRSNN",
        tiny_rsnn,
        SMORMS3,
        2e-3,
        0.75 - 0.1 / 0.75,
        standardised=False,
        root=True,
        window=200,
    ),
    "SNN2": Case("SNN2", snn2, Adam, None, 0.5, standardised=False, clipped=True),
    "SNN2 of snnTorch 1.0": Case(
        "SNN2", snn2, Adam, None, 0.5, standardised=False, clipped=True, sizes={"reset": "zero"}
    ),
    "GRU-t2": Case(
        "GRU-t2", gru_t2, Adam, 3e-3, 0.5, standardised=True, summed=True, window=1024, steps=4800
    ),
    "RTnet": Case("RTnet", rtnet, Adam, None, 0.5, standardised=True, clipped=True, window=256),
}  # fmt: skip


# ---- One training, watched ------------------------------------------------------------------


@dataclass
class Update:
    """One update of the package's training loop."""

    spikes: Tensor
    before: Weights
    masks: list[Tensor] = field(default_factory=list)
    """Factors of dropout, in the order of their use."""
    hidden: Tensor | None = None
    """The GRU's initial state."""
    gradients: Weights = field(default_factory=dict)
    """As the optimiser got them."""
    after: Weights = field(default_factory=dict)


def double(tensors) -> Weights:
    return {name: tensor.detach().double() for name, tensor in dict(tensors).items()}


@contextmanager
def watched(decoder) -> Iterator[list[Update]]:
    """Yields a list that fills while the decoder is trained."""
    updates: list[Update] = []

    def begin(module, arguments):
        if module.training:
            updates.append(Update(arguments[0].double(), double(module.state_dict())))

    def end(*_):
        updates[-1].gradients = double((n, p.grad) for n, p in decoder.named_parameters())
        updates[-1].after = double(decoder.state_dict())

    dropout, draw_dropout = F.dropout, rsnn.draw_dropout
    initial_hidden = vasilache.Windowed.initial_hidden

    def noted_dropout(values, p=0.5, training=True, inplace=False):
        mask = dropout(torch.ones_like(values), p, training)
        if training:
            updates[-1].masks.append(mask.double())
        return values * mask

    def noted_draw(shape, *arguments):
        drawn = draw_dropout(shape, *arguments)
        updates[-1].masks.append(drawn(torch.ones(shape)).double())
        return drawn

    def noted_hidden(*arguments):
        hidden = initial_hidden(*arguments)
        if decoder.training:
            updates[-1].hidden = hidden.double()
        return hidden

    decoder.register_forward_pre_hook(begin)
    everywhere = register_optimizer_step_post_hook(end)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, "dropout", noted_dropout)
            patch.setattr(rsnn, "draw_dropout", noted_draw)
            patch.setattr(hybrid, "draw_dropout", noted_draw)
            patch.setattr(vasilache.Windowed, "initial_hidden", noted_hidden)
            yield updates
    finally:
        everywhere.remove()


def session(steps: int) -> BinnedSession:
    """Spikes at 20 Hz and smooth velocities with an offset; 100 equal segments."""
    random = np.random.default_rng(3)
    noise = random.standard_normal((steps + 50, 2)).cumsum(0)
    velocity = (noise[50:] - noise[:-50]) * [0.5, 0.8] + [1.0, -2.0]
    edges = np.arange(0, steps + 1, steps // 100)
    return BinnedSession(
        name="indy_made_up",
        monkey="indy",
        spikes=(random.random((steps, CHANNELS)) < 0.08).astype(np.uint8),
        velocity=velocity.astype(np.float32),
        position=velocity.cumsum(0).astype(np.float32),
        areas=("M1",) * CHANNELS,
        start_s=0.0,
        segments=np.stack([edges[:-1], edges[1:]], axis=1),
        provenance={},
    )


def make_lively(system: str, decoder) -> None:
    """Scale initial weights so that every term of loss and gradient has something to do."""
    with torch.no_grad():
        if system == "tinyRSNN":  # most units above 10 spikes per window, some silent
            decoder.input.weight *= 4
            decoder.input.weight[:8] *= 0.15
            decoder.recurrent.weight[:8] *= 0.15
        if system == "SNN2":
            decoder.fc1.weight *= 2
            decoder.fc_out.weight *= 4
        if system == "RTnet":  # a second layer that spikes, gradients that are clipped
            decoder.nets[0][1].input.weight *= 2
            decoder.readout.weight *= 4


def given_windows(
    case: Case, recording: BinnedSession, given: Tensor
) -> tuple[Tensor, Tensor, set[int]]:
    """Spikes, targets and numbers of the windows the decoder got, cut from the recording here."""
    steps = round(case.train_share * case.steps)
    velocity = recording.velocity[:steps].astype(np.float64)
    if case.standardised:
        velocity = (velocity - velocity.mean(0)) / velocity.std(0)
    windows, targets = (
        torch.from_numpy(values[:steps].astype(np.float64)).unfold(0, case.window, STRIDE)
        for values in (recording.spikes, velocity)
    )
    assert given.shape[1:] == (BATCH, CHANNELS)
    assert not given[case.window :].any()
    same = (windows == given[: case.window].permute(1, 2, 0)[:, None]).all((2, 3))
    assert (same.sum(1) == 1).all()
    numbers = same.int().argmax(1)
    return windows[numbers].permute(2, 0, 1), targets[numbers].permute(2, 0, 1), {*numbers.tolist()}


def check_masks(masks: list[Tensor], probability: float) -> None:
    for mask in masks:
        kept = mask > 0
        deviation = math.sqrt(probability * (1 - probability) / mask.numel())
        assert kept.double().mean().item() == pytest.approx(1 - probability, abs=5 * deviation)
        torch.testing.assert_close(
            mask[kept] * (1 - probability), torch.ones_like(mask[kept]), rtol=0, atol=TOLERANCE
        )


def check_gradients(ours: Weights, theirs: Weights) -> Weights:
    """Equal within the tolerance, as a part of a tensor's norm.

    Returns where gradients are far above rounding, so that a step by their sign is sure.
    """
    assert ours.keys() == theirs.keys()
    total = norm(*theirs.values())
    clear = {}
    for name, gradient in theirs.items():
        size = norm(gradient)
        if size < 1e-12 * total:  # a bias in front of a batch norm: nothing but rounding
            size = total
        error = norm(ours[name] - gradient) / size
        assert error <= TOLERANCE, f"the gradient of {name} differs by {error:.1e} of its norm"
        clear[name] = gradient.abs() > 100 * TOLERANCE * size
    return clear


def norm(*tensors: Tensor) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors]).norm()


@pytest.mark.parametrize("dropout", ["without dropout", "with dropout"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_updates_equal_an_independent_implementation(case, dropout, repository, tmp_path):
    system = config.read(repository / "config.yaml").systems[case.system]
    changed = case.sizes if dropout == "with dropout" else case.sizes | {"dropout": 0.0}
    system = system.model_copy(update={"sizes": system.sizes | changed})
    probability = system.sizes["dropout"]
    changes = {"epochs": 1, "updates_per_epoch": UPDATES, "batch": BATCH, "stride": STRIDE}
    stage = system.training.finetune.model_copy(update=changes | {"window": case.window})
    rate = case.learning_rate or stage.learning_rate
    recording = session(case.steps)
    torch.manual_seed(0)
    decoder = build(system, CHANNELS)
    make_lively(case.system, decoder)

    with watched(decoder) as updates:
        history = train(
            decoder,
            [recording],
            training=system.training,
            stage=stage,
            areas=system.areas,
            **run_options(tmp_path),
        )

    assert len(updates) == UPDATES
    optimiser, seen, errors = case.optimiser(rate), set(), []
    for number, update in enumerate(updates):
        spikes, target, windows = given_windows(case, recording, update.spikes)
        assert not windows & seen
        seen |= windows
        check_masks(update.masks, probability)

        weights = {key: tensor.requires_grad_() for key, tensor in update.before.items()}
        result = case.network(weights, spikes, update, system.sizes)
        near = min([distance.abs().min().item() for distance in result.membranes], default=1.0)
        assert near > 5e-7, "rounding could decide on a spike: choose another seed"
        loss = (result.velocity - target).square().mean()
        loss = loss.sqrt() if case.root else loss
        errors.append(loss.item())
        (result.penalty + (2 if case.summed else 1) * loss).backward()
        gradients = {key: weights[key].grad for key in update.gradients}
        if case.clipped:
            length = norm(*gradients.values())
            assert length > stage.clip_norm, "nothing to clip"
            gradients = {k: g * stage.clip_norm / length for k, g in gradients.items()}
        clear = check_gradients(update.gradients, gradients)

        before = {key: tensor.detach() for key, tensor in weights.items()}
        if number == 0:  # the size of a first step depends on the gradient's sign alone
            for key, tensor in case.optimiser(rate).step(before, gradients).items():
                same_weights(update.after[key][clear[key]], tensor[clear[key]], rate)
        expected = optimiser.step(before, update.gradients)
        assert expected.keys() == dict(decoder.named_parameters()).keys()
        for key, tensor in expected.items():
            same_weights(update.after[key], tensor, rate)
        for key, tensor in result.statistics.items():
            torch.testing.assert_close(update.after[key], tensor, rtol=TOLERANCE, atol=TOLERANCE)

    assert history["train_loss"].tolist() == pytest.approx([np.mean(errors)], rel=TOLERANCE)
    for key, tensor in decoder.state_dict().items():
        assert torch.equal(tensor.double(), updates[-1].after[key])


def same_weights(ours: Tensor, theirs: Tensor, rate: float) -> None:
    """Equal to a small part of a step, but for the last bit of float32."""
    torch.testing.assert_close(ours, theirs, rtol=2e-7, atol=TOLERANCE * rate)
