"""What an update of a training costs on this machine: measured, on made-up spikes."""

import contextlib
import ctypes
import gc
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from spikereach.config import Stage
from spikereach.models.decoder import Decoder
from spikereach.models.passes import in_pieces
from spikereach.training import optimisers
from spikereach.training.arithmetic import repeatable
from spikereach.training.loop import step

RATE = 0.05
"""Spikes per channel and step, as in the recordings."""
FIRST, GROWTH = 2, 4
"""Windows of the first batch, and by how much one at most is larger than the one before."""
REPEATS = 10
"""Updates of the largest batch timed at most."""
STREAM = 2**13
"""Steps of the stream that is decoded."""
SPARE = 4
"""A larger batch is tried where it would take no more than this part of the free memory."""


@dataclass(frozen=True)
class Cost:
    """Of one training's recipe with so many channels."""

    batch: int
    """Windows per update as measured: as many of the recipe's as time and memory allowed."""
    update_s: float
    """An update on all windows of the recipe: measured, or on a line through two batches that
    were."""
    validation_s: float
    """A step of 4 ms of validation: of the stream, or of each window."""
    memory_bytes: int | None
    """By which an update on all windows of the recipe, in the same way, raises the memory of the
    process; on CUDA the most that is allocated. None where the system does not tell."""


def measure(decoder: Decoder, stage: Stage, device: torch.device, seconds: float) -> Cost:
    """Time and memory of an update as training does it, and time of its validation.

    An update is the forward pass with the precision of the device, loss, penalties, backward pass,
    clipping and the optimiser's step, on CUDA by repeatable algorithms. The batch begins small and
    grows while there is time and memory for a larger one.

    Args:
        decoder: of any state; it is trained.
        stage: the recipe.
        device: where; a CPU with one thread is measured in processor time, which other programs
            lengthen less.
        seconds: roughly how long, compiling not counted.
    Raises:
        RuntimeError: not even a batch of two windows fits the device.
    """
    with repeatable(device):
        return _measure(decoder, stage, device, seconds)


def _measure(decoder: Decoder, stage: Stage, device: torch.device, seconds: float) -> Cost:
    decoder.to(device).train()
    optimiser = optimisers.build(stage, list(decoder.parameters()))

    def windows(batch: int) -> Callable[[], object]:
        shape = stage.window, batch
        spikes = (torch.rand(*shape, decoder.channels, device=device) < RATE).byte()
        return partial(
            step, decoder, optimiser, stage, spikes, torch.randn(*shape, 2, device=device)
        )

    batch = min(FIRST, stage.batch)
    update = windows(batch)
    update()  # compiles
    spent, memory = _watched(update, device)
    left = seconds - spent  # of the updates: watching the memory of a large process takes long
    times, memories = _Line(batch, spent), _Line(batch, memory)
    while batch < stage.batch:
        larger = min(GROWTH * batch, stage.batch)
        larger = min(larger, memories.reaches(_free(device) / SPARE))
        if batch > FIRST:  # the larger one is to be run twice; two batches are the least
            larger = min(larger, times.reaches(left / 2))
        if larger <= batch:
            break
        try:
            update = windows(larger)
            spent, memory = _watched(update, device)
        except torch.OutOfMemoryError:
            larger = batch
        if larger == batch:  # what did not fit has gone with the error
            update = windows(batch)
            break
        batch = larger
        left -= spent
        times.add(batch, spent)
        memories.add(batch, memory)
    repeated = []
    while len(repeated) < REPEATS and spent < left:
        repeated.append(_timed(update, device))
        left -= repeated[-1]
    if repeated:
        times.last = batch, median(repeated)
    return Cost(
        batch=batch,
        update_s=times.at(stage.batch),
        validation_s=_validation(decoder, stage, batch, device),
        memory_bytes=None if memory is None else round(memories.at(stage.batch)),
    )


class _Line:
    """What a larger batch will take: along the line through the largest one measured and one of at
    most half of it. A small batch's share is too much, as loops over time take as long for it.

    Chance bends the line: it is held between a quarter of the proportion and all of it.
    """

    def __init__(self, batch: int, value: float | None):
        self.points, self.last = [(batch, value)], (batch, value)

    def add(self, batch: int, value: float | None) -> None:
        self.last = batch, value
        self.points.append(self.last)

    @property
    def slope(self) -> float:
        batch, value = self.last
        share = value / batch
        less = [point for point in self.points if 2 * point[0] <= batch]
        found = (value - less[-1][1]) / (batch - less[-1][0]) if less else share
        return min(max(found, share / 4), share)

    def at(self, batch: int) -> float:
        return self.last[1] + self.slope * (batch - self.last[0])

    def reaches(self, value: float) -> float:
        """The largest batch that takes no more; the last one where that does already."""
        batch, taken = self.last
        if not taken or value == math.inf:  # it takes nothing, or one of them is not known
            return math.inf
        return batch if taken >= value else batch + math.floor((value - taken) / self.slope)


@torch.no_grad()
def _validation(decoder: Decoder, stage: Stage, batch: int, device: torch.device) -> float:
    """Seconds per step of the validation part, or of its windows."""
    decoder.eval()
    if stage.validate_on == "windows":
        shape = stage.window, batch
        spikes = (torch.rand(*shape, decoder.channels, device=device) < RATE).byte()
        target = torch.zeros(*shape, 2, device=device)

        def validate() -> None:
            decoder.training_pairs(spikes, target)

        steps = stage.window * batch
    else:
        unit = decoder.timing.unit
        steps = math.ceil(STREAM / unit) * unit
        spikes = (torch.rand(steps, 1, decoder.channels, device=device) < RATE).float()

        def validate() -> None:
            for _ in in_pieces(decoder, spikes, steps):
                pass

    validate()
    return _timed(validate, device) / steps


def resident_bytes() -> int | None:
    """Memory of this process now, without what it could give back; None where it is not told."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    return _resident("VmRSS")


def _watched(update: Callable[[], object], device: torch.device) -> tuple[float, int | None]:
    """Seconds of an update and bytes of memory that it takes beyond what is there."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return _timed(update, device), torch.cuda.max_memory_allocated(device)
    before = resident_bytes()
    try:
        Path("/proc/self/clear_refs").write_text("5", "utf-8")  # forget the highest so far
    except OSError:
        before = None
    spent = _timed(update, device)
    return spent, None if before is None else max(0, _resident("VmHWM") - before)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    clock = _clock(device)
    begun = clock()
    work()
    return clock() - begun


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds, once the device has done its work; of one CPU thread, those that it worked."""
    if device.type == "cpu":
        return time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def _free(device: torch.device) -> float:
    """Bytes of memory that are free, infinite where that is not told."""
    if device.type == "cuda":
        return math.inf  # it raises an error that leaves all else as it was
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text("utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return math.inf


def _resident(field: str) -> int | None:
    """Bytes of a line of /proc/self/status: VmRSS now, VmHWM at most."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    return None


def name(device: torch.device) -> str:
    """Of the GPU or the processor, as it calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "CPU"
