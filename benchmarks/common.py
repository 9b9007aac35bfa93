"""What the contenders share: configured decoders, data, and one way to make a training job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from rows import Job
from torch import Tensor, nn

from spikereach import config
from spikereach.config import Stage
from spikereach.models import zoo
from spikereach.models.decoder import Decoder
from spikereach.training import optimisers

CONFIG = config.read(Path(__file__).resolve().parents[1] / "config.yaml")
CHANNELS, RATE = 96, 0.05
"""Of the inputs: spikes per channel and step, as in the recordings."""


def decoder_of(name: str, **sizes) -> Decoder:
    """A configured system with random weights, its spiking layers active."""
    torch.manual_seed(0)
    system = CONFIG.systems[name]
    system = system.model_copy(update={"sizes": system.sizes | sizes})
    decoder = zoo.build(system, CHANNELS, areas=["M1"] * CHANNELS)
    decoder.initialise(RATE / 0.004, torch.Generator().manual_seed(0))
    return decoder


def stage_of(name: str) -> Stage:
    return CONFIG.systems[name].training.finetune


def batch(windows: int, steps: int) -> tuple[Tensor, Tensor]:
    """Spikes (T, B, C) as bytes, and velocities (T, B, 2)."""
    random = np.random.default_rng(1)
    spikes = (random.random((steps, windows, CHANNELS)) < RATE).astype(np.uint8)
    velocity = random.standard_normal((steps, windows, 2)).astype(np.float32)
    return torch.from_numpy(spikes), torch.from_numpy(velocity)


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


def training_job(
    net: nn.Module,
    stage: Stage,
    loss: Callable[[], Tensor],
    threads: int,
    result: Callable[[], dict[str, np.ndarray]] | None = None,
) -> Job:
    """Updates of a network by the optimiser of its recipe."""
    torch.set_num_threads(threads)
    optimiser = optimisers.build(stage, list(net.parameters()))

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        if stage.clip_norm is not None:
            nn.utils.clip_grad_norm_(net.parameters(), stage.clip_norm)
        optimiser.step()

    return Job(run, result, warm=2)


def gradients(loss: Tensor, named: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The loss and its gradients, as arrays."""
    loss.backward()
    found = {name: parameter.grad.numpy() for name, parameter in named.items()}
    return found | {"loss": loss.detach().numpy()}
