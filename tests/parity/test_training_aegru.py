"""A whole training of AEGRU, pruning included, against one written anew in plain PyTorch.

Both start from the same weights and get the same order of windows. Before each update both seed
PyTorch alike, so that jitter, noise and dropout are the same, too. Everything else (layers, sums,
losses, optimiser, pruning, validation) is written here from the published code's description and
shares nothing with the package.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, softplus
from torch.nn.utils import prune
from torch.optim.lr_scheduler import CosineAnnealingLR

from spikereach import config
from spikereach.compression import compress
from spikereach.models.zoo import build
from spikereach.training.loop import train
from spikereach.training.seeds import RandomStreams
from spikereach.training.state import RunState
from training_cases import CHANNELS, checkpoint, run_options, session

BATCH, SEED = 100, 4
TRAIN, VALIDATION = slice(0, 800), slice(800, 1200)  # of 1600 steps, 40 segments of 40 steps
CLOSE = {"rtol": 1e-5, "atol": 2e-6}

NAMES = {
    "mean": "encoder", "norm": "norm", "gru": "cell", "state_norm": "layer_norm",
    "readout": "readout", "variance_1": "log_variance.0", "variance_2": "log_variance.2",
    "rates": "decoder",
}  # fmt: skip
"""Layers below, and the package's."""


class Network(nn.Module):
    """Codes of sums, a GRU over them, and what training adds."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Linear(CHANNELS, 32)
        self.norm = nn.BatchNorm1d(32)
        self.variance_1 = nn.Linear(CHANNELS, 128)
        self.variance_2 = nn.Linear(128, 32)
        self.rates = nn.Linear(32, CHANNELS)
        self.gru = nn.GRUCell(32, 32)
        self.state_norm = nn.LayerNorm(32)
        self.readout = nn.Linear(32, 2)

    def forward(self, sums: Tensor) -> tuple[Tensor, Tensor | None]:
        """Velocity after each sum (n, B, 2), and in training the sums' rates (n, B, C)."""
        x, rates = softplus(sums).log(), None
        # A batch norm takes its statistics over samples and sums.
        z = self.norm(self.mean(x).permute(1, 2, 0)).permute(2, 0, 1)
        if self.training:
            log_variance = self.variance_2(self.variance_1(x).relu())
            z = z.clamp(-10, 10) + (0.5 * log_variance).exp() * torch.randn(z.shape)
            rates = self.rates(z).exp()
        h, states = torch.zeros(sums.shape[1], 32), []
        for code in z:
            h = self.state_norm(self.gru(code, h))
            states.append(h)
        return self.readout(dropout(torch.stack(states), 0.5, self.training)), rates


@dataclass
class Reference:
    """The training of the published code, on a session of the tests."""

    network: Network
    spikes: Tensor
    velocity: Tensor
    rows: list[dict[str, float]] = field(default_factory=list)
    weights: list[dict[str, Tensor]] = field(default_factory=list)
    """After each epoch, by the package's names."""

    def fit(self, part: slice, rate: float, epochs: int, random: RandomStreams, *, cosine: bool):
        adam = torch.optim.Adam(self.network.parameters(), lr=rate, weight_decay=1e-3)
        schedule = CosineAnnealingLR(adam, T_max=epochs) if cosine else None
        samples = part.stop - part.start - 99  # one ends at every step
        for epoch in range(epochs):
            order = random.order(samples, samples // BATCH * BATCH, epoch)  # the rest is dropped
            before, losses, scores = adam.param_groups[0]["lr"], [], []
            for number, chosen in enumerate(order.reshape(-1, BATCH)):
                torch.manual_seed(random.number("dropout", epoch, number))
                loss, score = self.update(adam, part.start + chosen)
                losses.append(loss)
                scores.append(score)
            if schedule:
                schedule.step()
            val_loss, val_r2 = self.validate()
            found = np.mean(losses), np.mean(scores), val_loss, val_r2, before
            keys = "train_loss", "train_r2", "val_loss", "val_r2", "learning_rate"
            self.rows.append(dict(zip(keys, found, strict=True)))
            self.weights.append(self.effective())

    def update(self, adam: torch.optim.Optimizer, starts: np.ndarray) -> tuple[float, float]:
        windows = torch.stack([self.spikes[start : start + 100] for start in starts])
        sums = windows.reshape(BATCH, 5, 20, CHANNELS).sum(2).transpose(0, 1).contiguous()
        target = torch.stack([self.velocity[start + 19 : start + 100 : 20] for start in starts], 1)
        kept = torch.rand(sums.shape) >= 0.5
        drawn = torch.poisson(sums)
        drawn[kept] = sums[kept]
        prediction, rates = self.network.train()(drawn)
        error = ((prediction - target) ** 2).mean()
        # Poisson: -log(e^-r r^n / n!), with Stirling's approximation of log n! above 1.
        stirling = drawn * drawn.clamp(1).log() - drawn + (2 * np.pi * drawn.clamp(1)).log() / 2
        likelihood = rates - drawn * (rates + 1e-8).log() + stirling * (drawn > 1)
        adam.zero_grad()
        (10 * error + likelihood.mean()).backward()
        adam.step()
        return error.item(), r2(prediction.detach(), target)

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Step by step, on the sums of a buffer that begins with one row of zeros."""
        network, buffer, found = self.network.eval(), torch.zeros(1, CHANNELS), []
        for row in self.spikes[VALIDATION]:
            buffer = torch.cat([buffer, row[None]])[-100:]
            sums = torch.stack([part.sum(0) for part in buffer.split(20)])
            found.append(network(sums[:, None])[0][-1, 0])
        prediction, target = torch.stack(found), self.velocity[VALIDATION]
        return ((prediction - target) ** 2).mean().item(), r2(prediction, target)

    def effective(self) -> dict[str, Tensor]:
        """As the network computes with them, pruned ones as zeros."""
        state = {key: value.clone() for key, value in self.network.state_dict().items()}
        for key in [key for key in state if key.endswith("_mask")]:
            name = key.removesuffix("_mask")
            state[name] = state.pop(f"{name}_orig") * state.pop(key)
        return {
            f"{NAMES[layer]}.{name}": value
            for (layer, _, name), value in ((key.partition("."), state[key]) for key in state)
        }

    def prune(self) -> None:
        """Half of all weights that the deployed network has."""
        net = self.network
        weights = [(net.mean, "weight"), (net.readout, "weight")]
        weights += [(net.gru, "weight_ih"), (net.gru, "weight_hh")]
        prune.global_unstructured(weights, prune.L1Unstructured, amount=0.5)


def r2(prediction: Tensor, target: Tensor) -> float:
    prediction, target = prediction.reshape(-1, 2).double(), target.reshape(-1, 2).double()
    left = ((prediction - target) ** 2).sum(0)
    return (1 - left / ((target - target.mean(0)) ** 2).sum(0)).mean().item()


def test_training_and_pruning_equal_an_independent_implementation(
    repository, tmp_path, monkeypatch
):
    system = config.read(repository / "config.yaml").systems["AEGRU"]
    (once,) = system.compression
    recipe = system.training.finetune.model_copy(update={"batch": BATCH, "epochs": 3})
    again = once.retrain.model_copy(update={"batch": BATCH, "epochs": 2})
    training = system.training.model_copy(update={"finetune": recipe})
    once = once.model_copy(update={"retrain": again})
    system = system.model_copy(update={"training": training, "compression": (once,)})

    torch.manual_seed(0)
    decoder, recording = build(system, CHANNELS), session()
    with torch.no_grad():
        # In front of a batch norm its gradient is rounding's, and Adam's steps all of one size:
        # far from zero, weight decay decides their direction.
        decoder.encoder.bias.copy_(torch.linspace(2, 4, 32))
    network = Network()
    initial = decoder.state_dict()
    for ours, theirs in NAMES.items():
        layer = getattr(network, ours)
        layer.load_state_dict({key: initial[f"{theirs}.{key}"] for key in layer.state_dict()})
    reference = Reference(
        network, torch.from_numpy(recording.spikes).float(), torch.from_numpy(recording.velocity)
    )

    weights, end_epoch = [], RunState.end_epoch

    def noted(state, row):
        end_epoch(state, row)
        weights.append({key: value.clone() for key, value in state.decoder.state_dict().items()})

    monkeypatch.setattr(RunState, "end_epoch", noted)
    options = run_options(tmp_path, seed=SEED)
    trained = train(
        decoder, [recording], training=training, stage=recipe, areas=system.areas, **options
    )
    best = trained.val_r2.idxmax()
    start = checkpoint(decoder, system, train_r2=trained.train_r2[best])
    options["resume"] = tmp_path / "pruning"
    pruned, retrained = compress(start, [recording], system, system_name="small", **options)

    reference.fit(TRAIN, 1e-3, 3, RandomStreams(SEED, recipe), cosine=True)
    assert best == np.argmax([row["val_r2"] for row in reference.rows])
    for layer, theirs in NAMES.items():
        kept = reference.weights[best]
        own = getattr(network, layer)
        own.load_state_dict({key: kept[f"{theirs}.{key}"] for key in own.state_dict()})
    reference.prune()
    whole = slice(TRAIN.start, VALIDATION.stop)
    reference.fit(whole, 1e-4, 2, RandomStreams(SEED, again), cosine=False)

    rows = [*trained.to_dict("records"), *retrained.to_dict("records")]
    assert len(rows) == len(reference.rows) == 5
    for epoch, expected in enumerate(reference.rows):
        for key, value in expected.items():
            assert rows[epoch][key] == pytest.approx(value, rel=1e-5, abs=1e-5), (epoch, key)
        assert weights[epoch].keys() == reference.weights[epoch].keys()
        for name, value in reference.weights[epoch].items():
            torch.testing.assert_close(weights[epoch][name], value, **CLOSE)
    for name, value in pruned.decoder.state_dict().items():
        assert torch.equal(value, weights[-1][name])  # the last, not the best
        assert torch.equal(value == 0, reference.weights[-1][name] == 0)
    zeros = sum((reference.weights[-1][n] == 0).sum() for n in ("cell.weight_ih", "cell.weight_hh"))
    assert zeros > 1000
