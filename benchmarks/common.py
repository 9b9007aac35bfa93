"""What the contenders share: configured decoders and data."""

from pathlib import Path

import numpy as np
import torch

from spikereach import config
from spikereach.models import zoo
from spikereach.models.decoder import Decoder

CONFIG = config.read(Path(__file__).resolve().parents[1] / "config.yaml")
CHANNELS, RATE = 96, 0.05
"""Of the inputs: spikes per channel and step, as in the recordings."""


def decoder_of(name: str) -> Decoder:
    """A configured system with random weights, its spiking layers active."""
    torch.manual_seed(0)
    decoder = zoo.build(CONFIG.systems[name], CHANNELS, areas=["M1"] * CHANNELS)
    decoder.initialise(torch.full((CHANNELS,), RATE / 0.004), torch.Generator().manual_seed(0))
    return decoder


def recording(seed: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Spikes (*shape, C) as bytes, and velocities (*shape, 2)."""
    random = np.random.default_rng(seed)
    spikes = (random.random((*shape, CHANNELS)) < RATE).astype(np.uint8)
    return spikes, random.standard_normal((*shape, 2)).astype(np.float32)
