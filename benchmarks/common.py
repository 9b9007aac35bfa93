"""What the contenders share: configured decoders, data, and one way to train."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rows import Job
from torch import Tensor, nn

from spikereach import config
from spikereach.models import zoo
from spikereach.models.decoder import Decoder
from spikereach.ops.common.record import note_spikes
from spikereach.training import loop, optimisers

CONFIG = config.read(Path(__file__).resolve().parents[1] / "config.yaml")
CHANNELS, RATE = 96, 0.05
"""Of the inputs: spikes per channel and step, as in the recordings."""


def decoder_of(name: str) -> Decoder:
    """A configured system with random weights, its spiking layers active."""
    torch.manual_seed(0)
    decoder = zoo.build(CONFIG.systems[name], CHANNELS, areas=["M1"] * CHANNELS)
    decoder.initialise(RATE / 0.004, torch.Generator().manual_seed(0))
    return decoder


def recording(seed: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Spikes (*shape, C) as bytes, and velocities (*shape, 2)."""
    random = np.random.default_rng(seed)
    spikes = (random.random((*shape, CHANNELS)) < RATE).astype(np.uint8)
    return spikes, random.standard_normal((*shape, 2)).astype(np.float32)


class Spike(torch.autograd.Function):
    """Plain PyTorch's spikes, with the derivative ``1 / (slope |x| + 1)**2``."""

    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient / (ctx.slope * x.abs() + 1) ** 2, None


class Peer(nn.Module):
    """A network of another library, trained as a decoder is; subclasses have its layers."""

    drawn = False
    """Whether dropout is that of our decoder after the same seed."""

    def run(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity (T, B, 2) and hidden spikes (T, B, units) of spikes (T, B, C)."""
        raise NotImplementedError

    def decode(self, spikes: Tensor) -> Tensor:
        velocity, hidden = self.run(spikes)
        note_spikes("hidden", hidden)
        return velocity


def training(network: Callable[[str], nn.Module], system: str, windows: int, steps: int) -> Job:
    """Updates of a network by the recipe of a system; a peer takes the place of the decoder."""
    net, stage = network(system).train(), CONFIG.systems[system].training.finetune
    spikes, target = map(torch.from_numpy, recording(1, steps, windows))
    if isinstance(net, Peer):
        spikes = spikes.float()
    optimiser = optimisers.build(stage, list(net.parameters()))
    update = partial(loop.step, net, optimiser, stage, spikes, target)

    def result() -> dict[str, np.ndarray]:
        """The gradients, but for biases in front of batch norms: those are rounding errors."""
        net.drawn = True
        torch.manual_seed(7)
        velocity = update()
        net.drawn = False
        named = {name.removeprefix("ours."): p.grad for name, p in net.named_parameters()}
        named = {name: g.numpy() for name, g in named.items() if not name.endswith("conv.bias")}
        return named | {"velocity": velocity.numpy()}

    return Job(update, result, warm=2)
