"""Systems, recordings and updates that the groups share."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gpu.checks import Device
from spikereach import config
from spikereach.config import Config, Stage, System, Training
from spikereach.data.binning import BinnedSession
from spikereach.models import zoo
from spikereach.models.decoder import Decoder
from spikereach.ops.common.backends import only

CHANNELS, RATE = 96, 0.05
"""Of the inputs: spikes per channel and step, as in the recordings."""
AREAS = ("M1",) * (CHANNELS // 2) + ("S1",) * (CHANNELS // 2)


@cache
def paper() -> Config:
    """config.yaml; imports all its architectures."""
    found = config.read(Path(__file__).resolve().parents[2] / "config.yaml")
    for system in found.systems.values():
        zoo.find(system.architecture)
    return found


class Trained(NamedTuple):
    """A system with a first stage of gradient descent."""

    name: str
    system: System
    stage: Stage

    @property
    def training(self) -> Training:
        return self.system.training

    def decoder(self) -> Decoder:
        """With random weights, its spiking layers active."""
        with only("reference"):  # compiled loops of the CPU need SciPy
            return self._drawn()

    def _drawn(self) -> Decoder:
        torch.manual_seed(0)
        read = self.system.areas or AREAS
        areas = [area for area in AREAS if area in read]
        decoder = zoo.build(self.system, len(areas), areas=areas)
        rates = torch.full((len(areas),), RATE / 0.004)
        decoder.initialise(rates, torch.Generator().manual_seed(0))
        return decoder

    @property
    def whole(self) -> bool:
        """Whether the architecture takes windows of the stage's length only."""
        sizes, window = self.system.sizes, self.stage.window
        return window in (sizes.get("window"), sizes.get("bins", 0) * sizes.get("width", 0))

    def window(self, most: int) -> int:
        """The stage's, or less where that can be."""
        return self.stage.window if self.whole else min(self.stage.window, most)


def trained(device: Device) -> Iterator[Trained]:
    """Every system that is trained from scratch by gradient descent; for an interpreter, one of
    each architecture."""
    seen = set()
    for name, system in paper().systems.items():
        kind = system.architecture, system.sizes.get("merge")
        if gradient_trained(system) and (device.real or kind not in seen):
            seen.add(kind)
            yield Trained(name, system, system.training.finetune)


def gradient_trained(system: System) -> bool:
    return system.training is not None and system.training.finetune is not None


def batch(steps: int, streams: int, channels: int) -> tuple[Tensor, Tensor]:
    """Spikes (steps, B, C) as bytes and velocities (steps, B, 2), on the CPU."""
    random = np.random.default_rng(steps)
    spikes = (random.random((steps, streams, channels)) < RATE).astype(np.uint8)
    velocity = random.standard_normal((steps, streams, 2)).astype(np.float32)
    return torch.from_numpy(spikes), torch.from_numpy(velocity)


def session(steps: int) -> BinnedSession:
    """Random spikes and a smooth velocity; one segment per 40 steps."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((steps + 24, 2)).cumsum(0)
    velocity = (noise[24:] - noise[:-24]).astype(np.float32)
    starts = np.arange(0, steps, 40)
    return BinnedSession(
        name="random",
        monkey="random",
        spikes=(random.random((steps, CHANNELS)) < RATE).astype(np.uint8),
        velocity=velocity,
        position=velocity.cumsum(0),
        areas=AREAS,
        segments=np.stack([starts, np.append(starts[1:], steps)], axis=1),
        start_s=0.0,
        provenance={},
    )


def brief(stage: Stage, window: int, device: Device) -> Stage:
    """The recipe with few updates."""
    changes = {"epochs": 3, "batch": device.of(8, 2), "window": window, "stride": window}
    changes |= {"updates_per_epoch": device.of(5, 2), "patience": None, "cosine_epochs": None}
    changes |= {"placement": "every", "validation_stride": None, "last_batch": "keep"}
    return stage.model_copy(update=changes)


def shortened(paper: Config) -> Config:
    """The paper with batches of one window of 32 steps, for an interpreter."""

    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(each) for each in value]
        if not isinstance(value, dict):
            return value
        value = {key: short(each) for key, each in value.items()}
        if {"window", "batch", "stride"} <= value.keys():
            value |= {"window": 32, "batch": 1, "stride": 32, "validation_stride": None}
        return value

    return config.validate(short(paper.model_dump(mode="json")))
