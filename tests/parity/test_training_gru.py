"""Whole trainings of GRU-t2 against a loop in plain PyTorch that shares no code with the package.

Windows, labels, network, loss, optimiser, validation, patience and choice of the epoch are written
here once more from what is known of the authors' code. Of the package it takes the initial
weights, the order of the windows and the seeds of the draws.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from spikereach import config
from spikereach.data.binning import BinnedSession
from spikereach.models.zoo import build
from spikereach.training.loop import train
from spikereach.training.seeds import RandomStreams
from training_cases import run_options

CHANNELS = 96
STEPS = 8400
"""Of the session: 50 segments of training and 25 of validation, which hold two windows."""
TRAINED, VALIDATED = range(4200), range(4200, 6300)
BATCH = 128
"""Of 398 windows: the last of an epoch's four batches is incomplete."""
PATIENCE = 2
SEED = 0

Weights = dict[str, Tensor]


def session() -> BinnedSession:
    """Rates follow a smooth velocity, in the second half against the direction of the first: what
    is learned from the training part makes the validation part worse."""
    random = np.random.default_rng(5)
    noise = random.standard_normal((STEPS + 100, 2)).cumsum(0)
    velocity = noise[100:] - noise[:-100]
    angles = np.linspace(0, 2 * np.pi, CHANNELS, endpoint=False)
    drive = velocity / 10 @ np.stack([np.cos(angles), np.sin(angles)])
    drive[STEPS // 2 :] *= -1
    edges = np.linspace(0, STEPS, 101).astype(int)
    moved = (velocity * [0.5, 0.8] + [1.0, -2.0]).astype(np.float32)
    return BinnedSession(
        name="indy_made_up",
        monkey="indy",
        spikes=(random.random(drive.shape) < 0.08 * np.exp(drive)).astype(np.uint8),
        velocity=moved,
        position=moved.cumsum(0),
        areas=("M1",) * CHANNELS,
        start_s=0.0,
        segments=np.stack([edges[:-1], edges[1:]], axis=1),
        provenance={},
    )


# ---- The other implementation ---------------------------------------------------------------


class Network(nn.Module):
    """GRU-t2 for one batch of windows."""

    def __init__(self):
        super().__init__()
        self.conv_1 = nn.Conv1d(CHANNELS, 10, 3, padding=3)
        self.conv_2 = nn.Conv1d(10, 10, 3, padding=1)
        self.pool = nn.MaxPool1d(2)
        self.gru = nn.GRUCell(10, 20)
        self.norm = nn.LayerNorm(20)
        self.x, self.y = nn.Linear(20, 1), nn.Linear(20, 1)

    def forward(self, spikes: Tensor, hidden: Tensor) -> Tensor:
        """Velocity (B, 1024, 2) from spikes (B, 1024, channels) and hidden states (B, 20)."""
        frames = self.pool(self.conv_2(self.pool(self.conv_1(spikes.transpose(1, 2)))))
        assert frames.shape[2] == 257
        velocity, last = [], None
        for frame in frames.unbind(2):
            hidden = self.gru(frame, hidden)
            features = self.norm(hidden)
            keypoint = torch.cat([self.x(features), self.y(features)], dim=1)
            if last is not None:
                velocity += [last + (keypoint - last) * j / 4 for j in (1, 2, 3, 4)]
            last = keypoint
        return torch.stack(velocity, dim=1)


NAMES = {"convs.0": "conv_1", "convs.1": "conv_2", "cell": "gru", "layer_norm": "norm"}
NAMES |= {"readout_x": "x", "readout_y": "y"}


def here(weights: Weights) -> Weights:
    """Weights of the package by the names of :class:`Network`."""
    found = {key: key.rpartition(".") for key in weights}
    return {f"{NAMES[module]}.{name}": weights[key] for key, (module, _, name) in found.items()}


class Adam:
    """Kingma & Ba 2015, algorithm 1, with the rate of the authors' code."""

    rate = 3e-3

    def __init__(self):
        self.t, self.m, self.v = 0, {}, {}

    @torch.no_grad()
    def step(self, network: nn.Module) -> None:
        self.t += 1
        for name, parameter in network.named_parameters():
            g = parameter.grad
            m = self.m[name] = 0.9 * self.m.get(name, 0) + 0.1 * g
            v = self.v[name] = 0.999 * self.v.get(name, 0) + 0.001 * g**2
            m, v = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
            parameter -= self.rate * m / (v.sqrt() + 1e-8)
        network.zero_grad()


@dataclass
class Run:
    """What a training did, epoch by epoch."""

    losses: list[float] = field(default_factory=list)
    """Of training: mean squared errors of x and y added up, means over batches."""
    validation: list[float] = field(default_factory=list)
    weights: list[Weights] = field(default_factory=list)

    @property
    def best(self) -> int:
        return int(np.argmin(self.validation))


def plain_training(
    recording: BinnedSession, initial: Weights, draws: RandomStreams, epochs: int
) -> Run:
    spikes = torch.from_numpy(recording.spikes).float()
    velocity = recording.velocity.astype(np.float64)
    known = velocity[TRAINED.start : TRAINED.stop]
    labels = torch.from_numpy((velocity - known.mean(0)) / known.std(0)).float()

    def windows(starts):
        return [torch.stack([each[s : s + 1024] for s in starts]) for each in (spikes, labels)]

    def error(hidden, inputs, targets):
        return (network(inputs, hidden) - targets).square().sum(2).mean()

    starts = np.arange(TRAINED.start, TRAINED.stop - 1024 + 1, 8)
    held_out = windows(range(VALIDATED.start, VALIDATED.stop - 1024 + 1, 1024))
    always = np.random.default_rng(0).standard_normal((len(held_out[0]), 20), np.float32)
    network, adam, run = Network(), Adam(), Run()
    network.load_state_dict(initial)
    for epoch in range(epochs):
        order, losses = draws.order(len(starts), len(starts), epoch), []
        for update, numbers in enumerate(np.split(order, range(BATCH, len(order), BATCH))):
            torch.manual_seed(draws.number("dropout", epoch, update))
            loss = error(torch.randn(len(numbers), 20), *windows(starts[numbers]))
            loss.backward()
            adam.step(network)
            losses.append(loss.item())
        run.losses.append(np.mean(losses))
        with torch.no_grad():
            run.validation.append(error(torch.from_numpy(always), *held_out).item())
        run.weights.append({key: value.clone() for key, value in network.state_dict().items()})
        if epoch - run.best >= PATIENCE:
            break
    return run


# ---- Both, side by side ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def system(repository):
    found = config.read(repository / "config.yaml").systems["GRU-t2"]
    return found.model_copy(update={"sizes": found.sizes | {"dropout": 0.0}})


def test_training_equals_a_plain_loop(system, tmp_path):
    recording = session()
    stage = system.training.finetune.model_copy(update={"batch": BATCH, "patience": PATIENCE})
    torch.manual_seed(SEED)
    decoder = build(system, CHANNELS)
    initial = {key: value.clone() for key, value in decoder.state_dict().items()}

    updates = []

    def note(*_):
        updates.append({key: value.clone() for key, value in decoder.state_dict().items()})

    hook = register_optimizer_step_post_hook(note)
    try:
        history = train(
            decoder,
            [recording],
            training=system.training,
            stage=stage,
            areas=system.areas,
            **run_options(tmp_path, seed=SEED),
        )
    finally:
        hook.remove()

    plain = plain_training(recording, here(initial), RandomStreams(SEED, stage), stage.epochs)

    assert len(plain.losses) == len(history) == 3, "patience ends it after three of 300 epochs"
    assert plain.best == 0
    assert history["learning_rate"].tolist() == [Adam.rate] * 3
    for column, losses in (("train_loss", plain.losses), ("val_loss", plain.validation)):
        np.testing.assert_allclose(2 * history[column], losses, rtol=1e-5)
    assert len(updates) == 3 * 4
    for ours, theirs in zip(updates[3::4], plain.weights, strict=True):
        for name, weight in here(ours).items():
            # Adam divides a gradient by its size, and with it the rounding of a small one.
            torch.testing.assert_close(weight, theirs[name], rtol=1e-6, atol=3e-3 * Adam.rate)
    for key, weight in decoder.state_dict().items():
        assert torch.equal(weight, updates[3][key]), "these are not the selected epoch's weights"


def test_initial_weights_have_the_published_distributions(system):
    """Read-outs N(0, 0.1); all else as PyTorch starts it, uniform within 1/sqrt(fan-in)."""
    torch.manual_seed(SEED)
    drawn = [here(build(system, CHANNELS).state_dict()) for _ in range(300)]
    weights = {key: torch.stack([each[key] for each in drawn]) for key in drawn[0]}
    assert (weights.pop("norm.weight") == 1).all()
    assert (weights.pop("norm.bias") == 0).all()
    bounds = {"conv_1": (3 * CHANNELS) ** -0.5, "conv_2": 30**-0.5, "gru": 20**-0.5}
    for key, values in weights.items():
        module = key.partition(".")[0]
        if module in bounds:
            expected = stats.uniform(-bounds[module], 2 * bounds[module])
        else:
            expected = stats.norm(0, 0.1)
        assert stats.kstest(values.flatten().numpy()[:20_000], expected.cdf).pvalue > 1e-3, key
