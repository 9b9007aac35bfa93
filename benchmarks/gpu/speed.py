"""Times, memory and launches of an update, beside other ways to compute it.

Of every recipe at its batch: ours, and the same decoder in a loop of PyTorch operations over time.
Of every operation over time: forward and backward. Of tinyRSNN, bigRSNN and RTnet: other libraries,
and each step of plain PyTorch through `torch.compile`, which takes minutes for a whole loop.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median

import batches
import operations
import torch
from operations import OPERATIONS
from torch import nn
from torch.utils.benchmark import timer

from gpu import cases
from gpu.cases import Trained
from gpu.checks import Check, Device, Figures, MissedError, SkippedError, replaced
from spikereach.config import Stage
from spikereach.ops.common.backends import only
from spikereach.ops.lif import reference as lif_reference
from spikereach.training import loop, optimisers

WARM, TIMED = 2, 3
LEAST = 10.0
"""Times that every scan is to be faster than the loop over time."""

SCANS = {
    "LIF of RTnet": ("lif", (1024, 32, 56), {}),
    "LIF of SNN2": ("lif", (1000, 32, 50), {"recurrent": False, "reset": "zero_and_input"}),
    "LIF of LIF-t2": ("lif", (257, 2048, 20), {}),
    "current-based LIF of tinyRSNN": (
        "current_lif",
        (500, 250, 64),
        {"inputs": 96, "outputs": 2, "dropout": (0.3, 0.3)},
    ),
    "current-based LIF of bigRSNN": (
        "current_lif",
        (500, 250, 1024),
        {"inputs": 96, "outputs": 10, "dropout": (0.3, 0.3)},
    ),
    "integrator of SNN2": ("integrator", (1000, 32, 2), {}),
    "read-out of tinyRSNN": ("current_integrator", (500, 250, 2), {}),
    "read-out of bigRSNN": ("current_integrator", (500, 250, 10), {}),
}
"""Operation, (steps, streams, units) and what is not as usual."""
COMPARED = (
    *(("tinyRSNN", peer) for peer in ("snntorch", "norse", "spikingjelly")),
    *((name, "snntorch") for name in ("bigRSNN", "RTnet")),
    *((name, "torch.compile") for name in ("tinyRSNN", "RTnet")),  # the slowest last
)
SHORT_RECIPES, SHORT_COMPARED = ("tinyRSNN", "RTnet"), [COMPARED[0], COMPARED[4]]
"""For an interpreter."""


def checks(device: Device) -> Iterator[Check]:
    for name in SCANS:
        yield Check(f"{name}, against a loop of PyTorch", partial(scan, name, device))
    for each in cases.trained(device):
        if not device.real and each.name not in SHORT_RECIPES:
            continue
        for what in ("finetune", "pretrain"):
            stage = getattr(each.training, what)
            if stage is not None and (device.real or what == "finetune"):
                told = f"{each.name}, {what}: {stage.batch} windows of {stage.window} steps"
                yield Check(told, partial(recipe, each, stage, device))
    for name, peer in device.of(COMPARED, SHORT_COMPARED):
        yield Check(f"{name} against {peer}", partial(against, name, peer, device))


def seconds(work: Callable[[], object], device: Device) -> float:
    """Median of a few, after others to warm up."""

    def once() -> float:
        begun = timer()  # waits for CUDA where it is in use
        work()
        return timer() - begun

    warm, timed = device.of((WARM, TIMED), (0, 1))
    return median([once() for _ in range(warm + timed)][warm:])


def scan(name: str, device: Device) -> Figures:
    kind, (steps, batch, units), changed = SCANS[name]
    if not device.real:
        steps, batch, units = 9, 1, 5
    operation = OPERATIONS[kind]
    options = {option: values[0] for option, values in operation.options.items()} | changed
    options |= {"steps": steps, "batch": batch, "units": units, "seed": 0}
    drawn = operation.draw(options)
    leaves = {name: t.to(operations.DEVICE).requires_grad_() for name, t in drawn.items()}

    def both(backend: str) -> None:
        outputs = operation.run(leaves, options, backend)
        sum(output.sum() for output in outputs).backward()

    ours, plain = (seconds(partial(both, backend), device) for backend in ("cuda", "reference"))
    figures = {"ms": 1000 * ours, "plain PyTorch, ms": 1000 * plain, "ratio": plain / ours}
    if device.real and plain / ours < LEAST:
        raise MissedError(f"{LEAST:g} times faster is the aim", figures)
    return figures


def updating(net: nn.Module, stage: Stage, device: Device, size: tuple[int, int, int]):
    """A function that makes an update on a random batch (steps, windows, channels)."""
    net = net.to(device.type).train()
    spikes = (torch.rand(size, device=device.type) < cases.RATE).byte()
    velocity = torch.randn(*size[:2], 2, device=device.type)
    if not net.takes_bytes:
        spikes = spikes.float()
    optimiser = optimisers.build(stage, list(net.parameters()))
    return partial(loop.step, net, optimiser, stage, spikes, velocity)


def size_of(each: Trained, stage: Stage, device: Device) -> tuple[int, int, int]:
    channels = each.decoder().channels
    if device.real:
        return stage.window, stage.batch, channels
    return each.window(64), 1, channels


def recipe(each: Trained, stage: Stage, device: Device) -> Figures:
    """Of an update of ours: time, memory and launches; and the time of plain PyTorch."""
    size = size_of(each, stage, device)
    update = updating(each.decoder(), stage, device, size)
    figures = {"ms": 1000 * seconds(update, device)}
    if device.real:
        torch.cuda.reset_peak_memory_stats()
        update()
        figures["GB"] = torch.cuda.max_memory_allocated() / 1e9
        figures["launches"] = launches(update)
    del update
    try:
        with only("reference"):
            plain = seconds(updating(each.decoder(), stage, device, size), device)
    except torch.OutOfMemoryError:
        return figures | {"plain PyTorch": "out of memory"}
    finally:
        if device.real:
            torch.cuda.empty_cache()
    return figures | {"plain PyTorch, ms": 1000 * plain, "ratio": 1000 * plain / figures["ms"]}


def launches(work: Callable[[], object]) -> int:
    """Kernels that run on the GPU in one call."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
        torch.cuda.synchronize()
    events = (event for event in found.events() if event.device_type == DeviceType.CUDA)
    return sum(not event.name.startswith(("Memcpy", "Memset")) for event in events)


def against(name: str, peer: str, device: Device) -> Figures:
    """An update of another library's network of the same sizes, or of compiled steps."""
    system = cases.paper().systems[name]
    each = Trained(name, system, system.training.finetune)
    size = size_of(each, each.stage, device)
    with only("reference"):  # as decoders begin
        net = batches.decoder_of(name)
    ours = seconds(updating(net, each.stage, device, size), device)
    try:
        with only("reference"), ExitStack() as within:
            if device.real:  # others need not be repeatable
                torch.use_deterministic_algorithms(False)
                within.callback(torch.use_deterministic_algorithms, True)
            net = _peer(name, peer, within)
            update = updating(net, each.stage, device, size)
            theirs = seconds(update, device)
    except ImportError as error:
        raise SkippedError(f"absent: {error}") from None
    except Exception as error:  # that of another library is told, and no fault of ours
        reason = " ".join(str(error).split())[:200]
        raise SkippedError(f"{peer} ended with {type(error).__name__}: {reason}") from error
    return {"ms": 1000 * ours, f"{peer}, ms": 1000 * theirs, "ratio": theirs / ours}


def _peer(name: str, peer: str, within: ExitStack) -> nn.Module:
    if peer == "torch.compile":
        if name == "RTnet":
            step = torch.compile(lif_reference.lif_step)
            within.enter_context(replaced(lif_reference, lif_step=step))
        else:
            step = torch.compile(batches.current_lif_step)
            within.enter_context(replaced(batches, current_lif_step=step))
    hybrid = name == "RTnet"
    if peer == "torch.compile":
        return batches.decoder_of(name) if hybrid else batches.Plain(name)
    if hybrid:
        return batches.snntorch_rtnet(name)
    nets = {"snntorch": batches.SnnTorch, "norse": batches.Norse}
    return (nets | {"spikingjelly": batches.SpikingJelly})[peer](name)
