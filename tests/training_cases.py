"""A small session, small decoders and recipes for the tests of training and compression."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from spikereach.config import Stage, System, Training
from spikereach.data.binning import BinnedSession
from spikereach.models.checkpoint import Checkpoint
from spikereach.models.decoder import BufferSize, Decoder, Standardisation, Timing
from spikereach.training.fit import fit

CHANNELS = 6


def session(name="indy_test", *, monkey="indy", steps=1600, seed=0, areas=None) -> BinnedSession:
    """Smooth velocities, and channels whose rate follows them; one segment per 40 steps."""
    random = np.random.default_rng(seed)
    velocity = np.zeros((steps, 2))
    noise = random.standard_normal((steps, 2))
    for step in range(1, steps):
        velocity[step] = 0.95 * velocity[step - 1] + 0.3 * noise[step]
    angles = np.linspace(0, 2 * np.pi, CHANNELS, endpoint=False)
    drive = velocity @ np.stack([np.cos(angles), np.sin(angles)])
    spikes = random.random((steps, CHANNELS)) < 1 / (1 + np.exp(1.5 - 1.5 * drive))
    starts = np.arange(0, steps, 40)
    return BinnedSession(
        name=name,
        monkey=monkey,
        spikes=spikes.astype(np.uint8),
        velocity=(3 + 2 * velocity).astype(np.float32),
        position=np.cumsum(velocity, axis=0).astype(np.float32),
        areas=areas or ("M1",) * CHANNELS,
        start_s=0.0,
        segments=np.stack([starts, np.append(starts[1:], steps)], axis=1),
        provenance={"source": f"{name}.mat", "sha256": hashlib.sha256(name.encode()).hexdigest()},
    )


class TinyGRU(Decoder):
    """GRU, dropout, linear: what training needs of a decoder, with a look-ahead of ``delay``."""

    def __init__(self, *, channels: int, hidden: int = 8, dropout: float = 0.2, delay: int = 0):
        super().__init__(channels=channels, timing=Timing(lookahead=delay))
        self.cell = nn.GRUCell(channels, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(hidden, 2)
        self.initialised_at = []

    def initialise(self, rates_hz, generator):
        self.initialised_at = rates_hz.tolist()
        with torch.no_grad():
            self.readout.bias.copy_(torch.randn(2, generator=generator))

    def init_state(self, batch):
        return self.readout.weight.new_zeros(batch, self.cell.hidden_size)

    def forward(self, spikes, state=None):
        hidden, states = self.init_state(spikes.shape[1]) if state is None else state, []
        for step in spikes:
            hidden = self.cell(step, hidden)
            states.append(self.buffer(hidden))
        features = self.dropout(self.norm(torch.stack(states)))
        return self.readout(features), hidden

    def buffer_sizes(self):
        return [BufferSize("gru", self.cell.hidden_size, "state")]


TRUST = "training_cases:TinyGRU"


def stage(**changes) -> Stage:
    recipe = {
        "epochs": 3,
        "batch": 8,
        "window": 50,
        "stride": 25,
        "optimiser": "adam",
        "learning_rate": 0.01,
        "schedule": "cosine",
        "loss": "mse",
    }
    return Stage.model_validate(recipe | changes)


def system(architecture=TRUST, *, finetune=None, pretrain=None, sizes=None, **changes) -> System:
    entry = {
        "architecture": architecture,
        "sizes": sizes or {},
        "areas": ("M1",),
        "spiking": False,
        "training": Training(
            split="neurobench", standardise=True, pretrain=pretrain, finetune=finetune
        ),
    }
    return System.model_validate(entry | changes)


def rsnn(**stage_changes) -> System:
    """A small spiking decoder of the package."""
    return system("rsnn", sizes={"hidden": 8}, finetune=stage(learning_rate=0.02, **stage_changes))


def checkpoint(
    decoder: Decoder | None = None, entry: System | None = None, train_r2: float | None = 0.5
) -> Checkpoint:
    torch.manual_seed(0)
    decoder = decoder or TinyGRU(channels=CHANNELS)
    decoder.standardisation = Standardisation((2.0, 0.1), (3.0, -1 / 3))
    return Checkpoint(
        decoder=decoder,
        system=entry or system(finetune=stage()),
        system_name="tiny",
        dataset="indy_test",
        monkey="indy",
        areas=("M1",) * CHANNELS,
        seed=0,
        train_r2=train_r2,
        provenance={"sessions": {"indy_test": "abc"}},
    )


def bits(decoder: Decoder) -> dict[str, bytes]:
    """A decoder's parameters, for comparison bit by bit."""
    return {
        name: tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        for name, tensor in decoder.state_dict().items()
    }


def run_options(folder: Path, **changes) -> dict:
    """Arguments of `train` and `fit` that do not matter to most tests."""
    return {
        "seed": 0,
        "resume": folder / "resume.safetensors",
        "device": "cpu",
        "progress": False,
    } | changes


NAMES = {"system_name": "tiny", "dataset": "indy_test", "stage": "finetune"}


def fit_tiny(folder: Path, *, recipe: Stage | None = None, sessions=None, **changes):
    """A checkpoint and the history of a small training."""
    entry = system(finetune=recipe or stage())
    return fit(entry, list(sessions or [session()]), **NAMES | run_options(folder) | changes)
