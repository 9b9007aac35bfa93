"""GPU memory of every training of the paper: `python benchmarks/memory.py [--systems RTnet]`.

Counts the tensors of an update as they come and go, on the CPU but with CUDA's operations: under
bfloat16 autocast, with the Triton kernels' memory, which are not launched. Memory grows by as much
with every window, so that two small batches tell that of the paper's. Left out are what CUDA itself
and PyTorch's allocator take, cuDNN's workspace and copies, and the recordings (docs/budget.md).
"""

import argparse
import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import spikereach  # noqa: F401  first of all: it sets how PyTorch's threads wait

# isort: split
import pandas as pd
import torch
from gpu.checks import Device
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from triton.runtime.jit import JITFunction

from spikereach import config
from spikereach.config import Config, Stage, System
from spikereach.config.sessions import PAPER_AREAS
from spikereach.models import zoo
from spikereach.training import loop, optimisers

ROOT = Path(__file__).resolve().parents[1]
CHANNELS = 96
"""Of an area."""
STEPS = 8192
"""Of the windows of the smaller batch that is measured; with fewer, weights would be the most."""
LIMIT_GB = 40.0
"""Of a small data-centre GPU. A recipe beyond would have to take its batch in parts."""


class Tracker(TorchDispatchMode):
    """Bytes of the tensors that operations within make, now and at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None) -> Any:
        result = function(*arguments, **(keywords or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@contextmanager
def as_on_cuda() -> Iterator[None]:
    """Updates within allocate what they would on CUDA; what they compute means nothing."""

    def mixed(device: torch.device) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16)

    with ExitStack() as stack:
        stack.enter_context(Device("interpreter").taken())
        stack.enter_context(patch.object(JITFunction, "run", lambda *given, **options: None))
        stack.enter_context(patch.object(loop, "mixed", mixed))
        yield


def peak(system: System, stage: Stage, channels: int, windows: int) -> int:
    """Bytes at most in an update on so many windows, beside weights and optimiser."""
    areas = ["M1"] * (channels // 2) + ["S1"] * (channels - channels // 2)
    decoder = zoo.build(system, channels, areas=areas).train()
    optimiser = optimisers.build(stage, list(decoder.parameters()))
    with as_on_cuda():
        for tracker in (Tracker(), Tracker()):  # the first makes the optimiser's state
            with tracker:
                spikes = torch.zeros(stage.window, windows, channels, dtype=torch.uint8)
                target = torch.zeros(stage.window, windows, 2)
                loop.step(decoder, optimiser, stage, spikes, target)
                del spikes, target
    return tracker.peak


def areas(system: System) -> int:
    """How many it reads, of the paper's two."""
    return len(system.areas or PAPER_AREAS)


def gigabytes(system: System, stage: Stage) -> float:
    """Memory of an update on the batch of a recipe, in GB of 10^9 bytes, on all its areas."""
    few, channels = math.ceil(STEPS / stage.window), CHANNELS * areas(system)
    one, two = (peak(system, stage, channels, windows) for windows in (few, 2 * few))
    return (one + (two - one) * (stage.batch / few - 1)) / 1e9


class Row(NamedTuple):
    system: str
    training: str
    batch: str
    gigabytes: float


def rows(paper: Config, systems: Sequence[str]) -> Iterator[Row]:
    """Every training by gradients, but none whose net, areas, batch and window are those of an
    earlier one. A look-ahead says only which step a frame stands for."""
    known: list[tuple] = []
    for name in systems:
        system, stages = paper.systems[name], {}
        if system.training is not None:
            stages |= {"pretrain": system.training.pretrain, "finetune": system.training.finetune}
        stages |= {step.kind: each for step in system.compression for each in step.retrainings[:1]}
        for what, stage in stages.items():
            if stage is None:
                continue
            sizes = {name: size for name, size in system.sizes.items() if name != "lookahead"}
            key = system.architecture, sizes, areas(system), stage.batch, stage.window
            if key not in known:
                known.append(key)
                yield Row(name, what, f"{stage.batch} x {stage.window}", gigabytes(system, stage))


def table(found: Sequence[Row]) -> str:
    """As Markdown."""
    head = ["system", "training", "batch x window", "GB"]
    aligned = ("left", "left", "right", "right")
    shown = [[*row[:3], f"{row.gigabytes:.1f}"] for row in found]
    frame = pd.DataFrame(shown, columns=head)
    return frame.to_markdown(index=False, colalign=aligned, disable_numparse=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="*", help="default: all of the configuration")
    given = parser.parse_args(arguments)
    paper = config.read(ROOT / "config.yaml")
    systems = given.systems or list(paper.systems)
    if unknown := set(systems) - paper.systems.keys():
        parser.error(f"unknown systems: {', '.join(sorted(unknown))}")
    found = list(rows(paper, systems))
    print(table(found))
    for row in found:
        if row.gigabytes > LIMIT_GB:
            print(f"{row.system}, {row.training}: more than {LIMIT_GB:g} GB")


if __name__ == "__main__":
    main()
