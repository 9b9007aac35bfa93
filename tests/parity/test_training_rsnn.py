"""Whole trainings of tinyRSNN and bigRSNN against a loop that shares no code with the package.

Pretraining on two sessions, fine-tuning on one, pruning with retraining and half precision follow
the entries of ``config.yaml``, shortened. The loop below does the same in plain PyTorch and double
precision, as the code of Liu et al. (2024) does: their equations, surrogate, windows, loss,
penalties, optimiser, schedule and search for a sparsity. It is given the initial weights, the
order of the windows and the dropout masks, nothing else. After every epoch losses, R2, learning
rate and all weights must be equal within float32 rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from spikereach import config
from spikereach.compression import compress
from spikereach.config import System
from spikereach.data.binning import BinnedSession
from spikereach.models import rsnn
from spikereach.models.checkpoint import Checkpoint
from spikereach.training.fit import fit
from spikereach.training.seeds import RandomStreams
from spikereach.training.state import RunState

BATCH, WINDOW, STRIDE = 3, 250, 125
PRETRAIN, FINETUNE, RETRAIN = 2, 3, 2  # epochs
COARSE, FINE = 0.2, 0.1  # steps of sparsity

Weights = dict[str, Tensor]


# ---- The authors' training, written out once more -------------------------------------------


class SuperSpike(torch.autograd.Function):
    """1 above zero; backward 1 / (20 |x| + 1)^2."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient / (20 * x.abs() + 1) ** 2


class SMORMS3:
    """Funk 2015."""

    def __init__(self, weights: Weights):
        self.mem = {name: torch.ones_like(w) for name, w in weights.items()}
        self.g = {name: torch.zeros_like(w) for name, w in weights.items()}
        self.g2 = {name: torch.zeros_like(w) for name, w in weights.items()}

    def step(self, weights: Weights, gradients: Weights, lr: float) -> None:
        for name, grad in gradients.items():
            r = 1 / (self.mem[name] + 1)
            self.g[name] = (1 - r) * self.g[name] + r * grad
            self.g2[name] = (1 - r) * self.g2[name] + r * grad**2
            x = self.g[name] ** 2 / (self.g2[name] + 1e-16)
            self.mem[name] = 1 + self.mem[name] * (1 - x)
            weights[name] -= x.clamp(max=lr) * grad / (self.g2[name].sqrt() + 1e-16)


@dataclass(frozen=True)
class Net:
    """What tinyRSNN and bigRSNN differ in, but for the number of units."""

    readouts_ms: Sequence[tuple[float, float]]
    """Membrane and synaptic time constants."""
    ceiling: float
    """Weight of the penalty for more than 10 spikes per unit and window."""
    sparse: bool
    """Whether it is pruned and then rounded to half precision."""


NETS = {
    "tinyRSNN": Net([(50, 10)], 0.01, sparse=True),
    "bigRSNN": Net([(50, 10), (20, 5), (20, 20), (30, 10), (100, 30)], 0.0, sparse=False),
}


def decoded(net: Net, w: Weights, spikes: Tensor, masks: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Velocity (B, T, 2), spike counts (B, N) and the smallest distance to the threshold."""

    def decay(tau_ms, p):
        return torch.exp(-4 / (tau_ms * F.softplus(p)))

    (batch, steps, _), units = spikes.shape, len(w["mem_param"])
    d_mem, d_syn = decay(20, w["mem_param"]), decay(10, w["syn_param"])
    readouts = []
    for k, (tau_mem, tau_syn) in enumerate(net.readouts_ms):
        rows = slice(2 * k, 2 * k + 2)
        start = spikes.new_full((batch, 2), -0.01)
        p_mem, p_syn = w["readout_mem_param"][rows], w["readout_syn_param"][rows]
        decays = decay(tau_mem, p_mem), decay(tau_syn, p_syn)
        readouts.append((w["readout.weight"][rows], *decays, start, torch.zeros_like(start)))
    x_prev = torch.zeros_like(spikes[:, 0])
    z_prev = v = i = spikes.new_zeros(batch, units)
    velocity, fired, near = [], [], math.inf
    for t in range(steps):
        near = min(near, (v - 1).abs().min().item())
        z = SuperSpike.apply(v - 1)
        i_next = d_syn * i + x_prev @ w["input.weight"].T + z_prev @ w["recurrent.weight"].T
        v = (d_mem * v + (1 - d_mem) * i) * (1 - z.detach())
        readouts = [
            (W, o_mem, o_syn, o_mem * o + (1 - o_mem) * o_i, o_syn * o_i + z_prev @ W.T)
            for W, o_mem, o_syn, o, o_i in readouts
        ]
        x_prev, z_prev = spikes[:, t], z
        if masks:
            x_prev, z_prev = x_prev * masks[0][t], z_prev * masks[1][t]
        i = i_next
        velocity.append(sum(o for *_, o, _ in readouts) / len(readouts))
        fired.append(z)
    return torch.stack(velocity, 1), torch.stack(fired).sum(0), near


def windows(session: BinnedSession, part: str) -> list[tuple[Tensor, Tensor]]:
    """Per offset, consecutive windows of the part without its last piece."""
    steps = len(session.spikes)
    test = round(0.75 * steps)  # NeuroBench's test part: segments are equally long
    val = test - round(steps * 0.1 / 0.75)
    start, end = {"train": (0, val), "val": (val, test)}[part]
    spikes = torch.from_numpy(session.spikes[start:end]).double()
    velocity = torch.from_numpy(session.velocity[start:end]).double()
    return [
        pair
        for offset in range(0, WINDOW, STRIDE)
        for pair in list(
            zip(spikes[offset:].split(WINDOW), velocity[offset:].split(WINDOW), strict=True)
        )[:-1]
    ]


def loss_and_r2(prediction: Tensor, target: Tensor) -> tuple[Tensor, float]:
    residuals = ((prediction - target) ** 2).sum((0, 1))
    total = ((target - target.mean((0, 1))) ** 2).sum((0, 1))
    return ((prediction - target) ** 2).mean().sqrt(), (1 - residuals / total).mean().item()


@dataclass
class Theirs:
    """Their trainings of one net: what is given to them, and what comes of every epoch."""

    net: Net
    orders: Iterator[np.ndarray]
    masks: Iterator[Tensor]
    epochs: list[tuple[dict, Weights]] = field(default_factory=list)
    near: float = math.inf
    """Smallest distance of a membrane from the threshold."""
    slight: float = math.inf
    """Smallest first gradient that is not zero, beside the largest of its tensor."""
    busiest: float = 0.0
    """Highest mean count per unit and window."""
    idlest: float = math.inf
    """Lowest count of a unit in a window."""

    def train(
        self,
        weights: Weights,
        sessions: Sequence[BinnedSession],
        epochs: int,
        cosine_epochs: int,
        mask: Weights | None = None,
    ) -> float:
        """Changes the weights; returns the last training R2."""
        data = [window for session in sessions for window in windows(session, "train")]
        held_out = [window for session in sessions for window in windows(session, "val")]
        optimiser = SMORMS3(weights)
        for epoch in range(epochs):
            lr = 2e-3 / 2 * (1 + math.cos(math.pi * epoch / cosine_epochs))
            order, metrics = next(self.orders), []
            assert sorted(order) == list(range(len(data)))
            for begin in range(0, len(order), BATCH):
                drawn = [data[number] for number in order[begin : begin + BATCH]]
                spikes, target = map(torch.stack, zip(*drawn, strict=True))
                leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
                masks = next(self.masks), next(self.masks)
                velocity, counts, near = decoded(self.net, leaves, spikes, masks)
                loss, r2 = loss_and_r2(velocity, target)
                floor = 100 * (torch.relu(1e-3 - counts) ** 2).mean()
                ceiling = self.net.ceiling * (torch.relu(counts.mean(1) - 10) ** 2).mean()
                (loss + floor + ceiling).backward()
                gradients = {name: leaf.grad for name, leaf in leaves.items()}
                for name, kept in (mask or {}).items():
                    gradients[name] *= kept
                if not epoch and not begin:
                    sizes = [g.abs()[g != 0] / g.abs().max() for g in gradients.values()]
                    self.slight = min(self.slight, torch.cat(sizes).min().item())
                optimiser.step(weights, gradients, lr)
                metrics.append((loss.item(), r2))
                self.near = min(self.near, near)
                self.busiest = max(self.busiest, counts.mean(1).max().item())
                self.idlest = min(self.idlest, counts.min().item())
            (loss, r2), (val_loss, val_r2) = np.mean(metrics, 0), self.validate(weights, held_out)
            row = {"train_loss": loss, "train_r2": r2, "val_loss": val_loss, "val_r2": val_r2}
            kept = {name: w.clone() for name, w in weights.items()}
            self.epochs.append((row | {"learning_rate": lr}, kept))
        return r2

    def validate(self, weights: Weights, data: list[tuple[Tensor, Tensor]]) -> np.ndarray:
        metrics = []
        for begin in range(0, len(data), BATCH):
            spikes, target = map(torch.stack, zip(*data[begin : begin + BATCH], strict=True))
            velocity, _, near = decoded(self.net, weights, spikes, ())
            loss, r2 = loss_and_r2(velocity, target)
            metrics.append((loss.item(), r2))
            self.near = min(self.near, near)
        return np.mean(metrics, 0)

    def prune(
        self, weights: Weights, session: BinnedSession, before: float
    ) -> tuple[Weights, list[tuple[float, bool]]]:
        """The weights of the last good trial; the sparsity of each trial and whether it was good.

        ``before`` is the training R2 of the last epoch without a mask.
        """
        best, trials, sparsity, steps = weights, [], 0.4, [COARSE, FINE]
        # With the same draws, what has failed would fail again.
        while sparsity < 0.8 + 1e-9 and (round(sparsity, 6), False) not in trials:
            trial = {name: w.clone() for name, w in weights.items()}
            mask = {}
            for name in ("input.weight", "recurrent.weight", "readout.weight"):
                flat = trial[name].flatten()
                smallest = flat.abs().argsort()[: math.floor(sparsity * flat.numel() + 1e-9)]
                flat[smallest] = 0
                trial[name] = flat.view_as(trial[name])
                mask[name] = (trial[name] != 0).double()
            r2 = self.train(trial, [session], RETRAIN, RETRAIN, mask)
            good = r2 - before >= -0.02 * abs(before)
            trials.append((round(sparsity, 6), good))
            if good:
                best = trial
            elif len(steps) == 2:
                sparsity -= steps.pop(0)
            else:
                break
            sparsity += steps[0]
        return best, trials


# ---- The package's, watched ------------------------------------------------------------------


@dataclass
class Ours:
    """The package's trainings: their start, their random draws, and what came of every epoch."""

    initial: Weights = field(default_factory=dict)
    orders: list[np.ndarray] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)
    """Factors of inputs and of hidden spikes in turn."""
    epochs: list[tuple[dict, Weights]] = field(default_factory=list)


def copied(decoder) -> Weights:
    return {name: w.detach().clone() for name, w in decoder.state_dict().items()}


@contextmanager
def watched() -> Iterator[Ours]:
    """Yields an object that fills while anything is trained."""
    ours = Ours()
    initialise, order, end_epoch = rsnn.RSNN.initialise, RandomStreams.order, RunState.end_epoch
    draw_dropout = rsnn.draw_dropout

    def noted_initialise(decoder, rates_hz, generator):
        initialise(decoder, rates_hz, generator)
        if generator is not torch.default_generator:  # not in the constructor
            ours.initial = copied(decoder)

    def noted_order(*arguments):
        ours.orders.append(order(*arguments))
        return ours.orders[-1]

    def noted_draw(shape, *arguments):
        drawn = draw_dropout(shape, *arguments)
        ours.masks.append(drawn(torch.ones(shape)).double())
        return drawn

    def noted_end(state, row):
        end_epoch(state, row)
        ours.epochs.append((row, copied(state.decoder)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rsnn.RSNN, "initialise", noted_initialise)
        patch.setattr(RandomStreams, "order", noted_order)
        patch.setattr(RunState, "end_epoch", noted_end)
        patch.setattr(rsnn, "draw_dropout", noted_draw)
        yield ours


def session(name: str, areas: Sequence[str], seed: int, steps: int = 2000) -> BinnedSession:
    """Smooth velocities and channels whose rates follow them, S1's twice M1's; equal segments."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((steps + 40, 2)).cumsum(0)
    velocity = (noise[40:] - noise[:-40]) / 4
    tuning = random.standard_normal((2, len(areas)))
    rates = 0.05 * np.exp(0.5 * velocity @ tuning - 0.25) * [1 + (a == "S1") for a in areas]
    edges = np.linspace(0, steps, 41).astype(int)
    return BinnedSession(
        name=name,
        monkey="loco",
        spikes=(random.random((steps, len(areas))) < rates).astype(np.uint8),
        velocity=velocity.astype(np.float32),
        position=velocity.cumsum(0).astype(np.float32),
        areas=tuple(areas),
        start_s=0.0,
        segments=np.stack([edges[:-1], edges[1:]], axis=1),
        provenance={"source": f"{name}.mat", "sha256": name},
    )


def shortened(system: System, units: int) -> System:
    """The entry with few epochs and short windows, all else as configured."""
    short = {"batch": BATCH, "window": WINDOW, "stride": STRIDE}
    stages = {
        name: getattr(system.training, name).model_copy(update=short | {"epochs": epochs})
        for name, epochs in (("pretrain", PRETRAIN), ("finetune", FINETUNE))
    }
    steps = [
        step.model_copy(
            update={
                "step": COARSE,
                "fine_step": FINE,
                "retrain": step.retrain.model_copy(update=short | {"epochs": RETRAIN}),
            }
        )
        if step.kind == "prune"
        else step
        for step in system.compression
    ]
    return system.model_copy(
        update={
            "sizes": system.sizes | {"hidden": units},
            "training": system.training.model_copy(update=stages),
            "compression": tuple(steps),
        }
    )


def trained(
    system: System, name: str, sessions: Sequence[BinnedSession], folder: Path
) -> tuple[Ours, Checkpoint, list[float]]:
    """Pretrain on all sessions, fine-tune on the first and compress, as the workflow does.

    Returns the last checkpoint and the sparsities tried in that order, too.
    """
    options = {"system_name": name, "seed": 0, "device": "cpu", "progress": False}
    with watched() as ours:
        checkpoint = None
        for stage, given in (("pretrain", sessions), ("finetune", sessions[:1])):
            checkpoint, _ = fit(
                system,
                given,
                stage=stage,
                dataset="loco",
                pretrained=checkpoint,
                resume=folder / f"{stage}.safetensors",
                **options,
            )
        checkpoint, history = compress(
            checkpoint, sessions[:1], system, resume=folder / "compress", **options
        )
    return ours, checkpoint, history.sparsity.unique().tolist()


@dataclass(frozen=True)
class Case:
    system: str
    areas: Sequence[str]
    seed: int
    """Of the sessions, so that rounding decides on no spike and on no sign."""


M1, S1 = ["M1"], ["S1"]
CASES = {
    "tinyRSNN with M1": Case("tinyRSNN", M1 * 96, 7),
    "tinyRSNN with M1 and S1": Case("tinyRSNN", M1 * 48 + S1 * 48, 2),
    "bigRSNN": Case("bigRSNN", M1 * 96, 1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_whole_trainings_equal_an_independent_loop(case, repository, tmp_path):
    net = NETS[case.system]
    system = shortened(config.read(repository / "config.yaml").systems[case.system], units=16)
    sessions = [session(f"loco_{n}", case.areas, 2 * case.seed + n) for n in (0, 1)]
    ours, checkpoint, sparsities = trained(system, case.system, sessions, tmp_path)

    theirs = Theirs(net, iter(ours.orders), iter(ours.masks))
    weights = {name: w.double() for name, w in ours.initial.items()}
    theirs.train(weights, sessions, PRETRAIN, 200)
    r2 = theirs.train(weights, sessions[:1], FINETUNE, 200)
    check_epochs(ours, theirs)
    if net.sparse:
        weights, trials = theirs.prune(weights, sessions[0], r2)
        assert {good for _, good in trials} == {True, False}, "nothing to decide"
        assert sparsities == [sparsity for sparsity, _ in trials]
    assert theirs.busiest > 10, "the ceiling of activity would do nothing"
    assert theirs.idlest == 0, "the floor of activity does nothing"
    assert theirs.near > 5e-6, "rounding could decide on a spike: choose another seed"
    assert theirs.slight > 5e-7, "rounding could decide on a step's sign: choose another seed"

    check_epochs(ours, theirs)
    assert len(ours.epochs) == len(theirs.epochs)
    assert next(theirs.orders, None) is None

    for name, w in checkpoint.decoder.state_dict().items():
        assert w.dtype == (torch.float16 if net.sparse else torch.float32)
        torch.testing.assert_close(w.double(), weights[name], rtol=2e-3 * net.sparse, atol=1e-4)
        assert torch.equal(w == 0, weights[name] == 0)
    check_masks(ours.masks)


def check_epochs(ours: Ours, theirs: Theirs) -> None:
    """All epochs of theirs so far are equal to ours."""
    for (row, found), (expected_row, expected) in zip(ours.epochs, theirs.epochs, strict=False):
        for key, value in expected_row.items():
            assert row[key] == pytest.approx(value, rel=1e-6, abs=1e-6), (row["epoch"], key)
        assert row["learning_rate"] == pytest.approx(expected_row["learning_rate"], rel=1e-12)
        assert found.keys() == expected.keys()
        for name, w in expected.items():
            torch.testing.assert_close(found[name].double(), w, rtol=0, atol=1e-4, msg=name)
            assert norm(found[name] - w) < 1e-5 * norm(w), name
            assert torch.equal(found[name] == 0, w == 0), name


def norm(tensor: Tensor) -> float:
    return tensor.double().norm().item()


def check_masks(masks: Sequence[Tensor]) -> None:
    """Three tenths of all elements are dropped, each for itself, and the others make up for it."""
    values = torch.cat([mask.flatten() for mask in masks])
    torch.testing.assert_close(
        values.unique(), torch.tensor([0, 1 / 0.7]).double(), rtol=1e-5, atol=0
    )
    deviation = math.sqrt(0.3 * 0.7 / len(values))
    assert (values == 0).double().mean().item() == pytest.approx(0.3, abs=5 * deviation + 1e-5)


def test_what_is_shortened_above_is_configured_as_published(repository):
    systems = config.read(repository / "config.yaml").systems
    tiny, big = systems["tinyRSNN"], systems["bigRSNN"]
    prune, half = tiny.compression
    for system in (tiny, big):
        for stage, epochs in (
            (system.training.pretrain, 100),
            (system.training.finetune, 200),
            (prune.retrain, 100),
        ):
            shapes = stage.epochs, stage.batch, stage.window, stage.stride
            assert shapes == (epochs, 250, 500, 100)
    assert (tiny.sizes["hidden"], big.sizes["hidden"]) == (64, 1024)
    assert (prune.step, prune.fine_step, half.kind) == (0.1, 0.05, "half")
    assert not big.compression


@pytest.mark.parametrize("areas", [M1 * 96, M1 * 96 + S1 * 96], ids=["M1", "M1 and S1"])
def test_initial_weights_are_drawn_from_the_published_distributions(areas, repository, tmp_path):
    """Rossbroich et al. 2022, with the rate of the first area; that of the second divides."""
    system = config.read(repository / "config.yaml").systems["tinyRSNN"]
    system = shortened(system, units=64)
    sessions = [session(f"loco_{seed}", areas, seed) for seed in (1, 2)]
    stage = system.training.pretrain.model_copy(update={"epochs": 1})
    training = system.training.model_copy(update={"pretrain": stage})
    with watched() as ours:
        fit(
            system.model_copy(update={"training": training}),
            sessions,
            system_name="tinyRSNN",
            dataset="loco",
            stage="pretrain",
            seed=0,
            resume=tmp_path / "resume.safetensors",
            device="cpu",
            progress=False,
        )

    cut = torch.stack([spikes for one in sessions for spikes, _ in windows(one, "train")])
    rates_hz = cut.sum((0, 1)).split(96)
    rates_hz = [rate.mean().item() / (len(cut) * WINDOW * 0.004) for rate in rates_hz]
    # The membrane's answer to a spike is (1 - m) (s^n - m^n) / (s - m) after n steps.
    m, s = math.exp(-4 / 20), math.exp(-4 / 10)
    squares = 1 / (1 - s**2) - 2 / (1 - s * m) + 1 / (1 - m**2)
    energy = ((1 - m) / (s - m)) ** 2 * squares * 0.004
    deviation = 0.5 / math.sqrt(rates_hz[0] * energy)
    w, units, channels = ours.initial, 64, len(areas)
    drawn = [
        (w["recurrent.weight"], deviation * math.sqrt(0.1 / units)),
        (w["readout.weight"], 1 / math.sqrt(units)),
    ]
    for columns, rate_hz in zip(w["input.weight"].split(96, dim=1), rates_hz, strict=True):
        expected = deviation * math.sqrt(0.9 / channels) / (rate_hz / rates_hz[0])
        drawn.append((columns, expected))
    for values, expected in drawn:
        values = values.flatten().numpy()
        assert stats.kstest(values / expected, "norm").pvalue > 0.01
        assert values.std() == pytest.approx(expected, rel=4 / math.sqrt(2 * len(values)))
    for name in ("mem_param", "syn_param"):
        assert stats.kstest(w[name].numpy(), "uniform").pvalue > 0.01
        assert (w[f"readout_{name}"] == 1).all()
