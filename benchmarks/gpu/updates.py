"""One update and one validation of every system, against the CPU in float64."""

from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from gpu import cases
from gpu.cases import Trained
from gpu.checks import Check, Device, Figures, replaced
from gpu.exact import Alike, default_dtype, deviation, noting_distances, parted
from spikereach.models.decoder import Decoder
from spikereach.ops.common.backends import only
from spikereach.training import loop, optimisers

ROUNDING = 1e-4
"""Largest distance from the threshold at which a spike may flip; sums before it are long."""
PARTING = 0.25
"""Largest share of windows that part; there are few, each with tens of thousands of spikes."""
EXACT = 2e-3
"""Largest deviation of predictions and of gradients in float32, root mean square. Of two frames
that differ by no more than rounding, a pool sends the gradient to one or to the other."""
ROUGH = {"ANN2": 2e-2, "ANN3": 2e-2}
"""The same where a batch norm follows rectified units that are hardly ever active: it divides by
their small deviation, so that rounding grows."""
MIXED = 0.1
"""Largest deviation of the loss with bfloat16, as training has it."""
VALIDATION = 5e-3
"""Largest difference of loss and R2; streams are long, and spikes that flip have consequences."""

LONGEST = {"bigRSNN": 60}
"""Steps of a window where there are so many units that in longer ones every stream has a membrane
at its threshold."""


def checks(device: Device) -> Iterator[Check]:
    for each in cases.trained(device):

        def float32(each=each) -> Figures:
            return exact(each, device)

        def bfloat16(each=each) -> Figures:
            return mixed(each, device)

        def validated(each=each) -> Figures:
            return validation(each, device)

        yield Check(f"{each.name}, update in float32", float32)
        if device.real:  # an interpreter's is float32, too
            yield Check(f"{each.name}, update as trained", bfloat16)
        yield Check(f"{each.name}, validation", validated)


class Update(NamedTuple):
    """What an update did."""

    velocity: Tensor
    target: Tensor
    spikes: dict[str, Tensor]
    gradients: dict[str, Tensor]

    @property
    def loss(self) -> Tensor:
        return (self.velocity - self.target).double().square().mean().cpu()


def update(decoder: Decoder, each: Trained, spikes: Tensor, velocity: Tensor) -> Update:
    """One update of a decoder in place, with the random numbers of every other device."""
    decoder.train()
    kind, device = next((p.dtype, p.device) for p in decoder.parameters())
    optimiser = optimisers.build(each.stage, list(decoder.parameters()))
    spikes, velocity = spikes.to(device), velocity.to(device, kind)
    if not decoder.takes_bytes:
        spikes = spikes.to(kind)
    torch.manual_seed(7)
    with Alike(exact=kind == torch.float64):
        predicted, target, record = loop.step(decoder, optimiser, each.stage, spikes, velocity)
    gradients = {name: p.grad for name, p in decoder.named_parameters() if p.grad is not None}
    spikes = {name: z.detach() for name, z in record.spikes.items()}
    return Update(predicted, target, spikes, gradients)


def drawn(each: Trained, device: Device) -> tuple[Decoder, Tensor, Tensor]:
    decoder = each.decoder()
    steps = each.window(device.of(LONGEST.get(each.name, 1024), 64))
    return decoder, *cases.batch(steps, device.of(16, 2), decoder.channels)


def exact(each: Trained, device: Device) -> Figures:
    """In float32 against float64: largest deviation of predictions and of gradients."""
    decoder, spikes, velocity = drawn(each, device)
    count, apart = velocity.shape[1], 0
    while True:
        ours = deepcopy(decoder).to(device.type)
        with replaced(torch, autocast=lambda *arguments, **options: nullcontext()):
            found = update(ours, each, spikes, velocity)
            with (
                default_dtype(torch.float64),
                only("reference"),
                noting_distances() as calls,
            ):
                wanted = update(deepcopy(decoder).double(), each, spikes, velocity)
        if not wanted.spikes:
            break
        streams = parted(found.spikes, wanted.spikes, calls, rounding=ROUNDING, parting=PARTING)
        if not streams.any():
            break
        # Statistics and sums are over all streams: the others are a batch of their own.
        apart += int(streams.sum())
        assert apart <= count / 2, f"{apart} of {count} streams part; too few are left to compare"
        spikes, velocity = spikes[:, ~streams], velocity[:, ~streams]
    # The bias before a batch norm has no gradient but rounding.
    least = 0.01 * float(torch.cat([g.flatten() for g in wanted.gradients.values()]).norm())
    figures = {"velocity": deviation(found.velocity, wanted.velocity)}
    worst = {n: deviation(found.gradients[n], g, least) for n, g in wanted.gradients.items()}
    name = max(worst, key=worst.get)
    figures |= {"gradients": worst[name], "streams that part": apart}
    most = ROUGH.get(each.name, EXACT)
    assert figures["velocity"] <= most, f"velocities deviate by {figures['velocity']:.2g}"
    assert worst[name] <= most, f"the gradient of {name} deviates by {worst[name]:.2g}"
    return figures


def mixed(each: Trained, device: Device) -> Figures:
    """As training does it: all is finite, and the loss near that of float64."""
    decoder, spikes, velocity = drawn(each, device)
    found = update(deepcopy(decoder).to(device.type), each, spikes, velocity)
    with default_dtype(torch.float64), only("reference"):
        wanted = update(deepcopy(decoder).double(), each, spikes, velocity)
    assert found.velocity.dtype == torch.float32, f"predictions are {found.velocity.dtype}"
    for name, tensor in {**found.gradients, **found.spikes, "velocity": found.velocity}.items():
        assert bool(tensor.isfinite().all()), f"{name} is not finite"
    missing = wanted.gradients.keys() - found.gradients.keys()
    assert not missing, f"without a gradient: {', '.join(sorted(missing))}"
    figures = {"loss": abs(float(found.loss / wanted.loss) - 1)}
    assert figures["loss"] <= MIXED, f"the loss deviates by {figures['loss']:.2g}"
    flat, other = (
        torch.cat([each.gradients[n].flatten().double().cpu() for n in wanted.gradients])
        for each in (found, wanted)
    )
    figures["cosine of the gradients"] = float(torch.cosine_similarity(flat, other, dim=0))
    return figures


def validation(each: Trained, device: Device) -> Figures:
    """As after an epoch, of part of a recording: difference of loss and of R2."""
    whole = each.decoder()
    steps = device.of(16384, 4400 if each.stage.window == 1024 else 640)
    recording = cases.session(steps)
    window = each.window(device.of(1024, 32))
    stage = cases.brief(each.stage, window, device)
    results = []
    for kind, on in ((torch.float32, device.type), (torch.float64, "cpu")):
        decoder = deepcopy(whole).to(on, kind).eval()
        reference = only("reference") if kind == torch.float64 else nullcontext()
        with default_dtype(kind), Alike(exact=kind == torch.float64), reference:
            rest = [recording], each.training, stage, each.system.areas, torch.device(on)
            results.append(loop._validation(decoder, *rest)(lambda: None))
    (loss, r2), (exact_loss, exact_r2) = results
    figures = {"loss": abs(loss / exact_loss - 1), "R2": abs(r2 - exact_r2)}
    assert figures["loss"] <= VALIDATION, f"losses {loss:.6g} and {exact_loss:.6g}"
    # R2 of random weights may be far below zero.
    assert figures["R2"] <= VALIDATION * max(1, abs(exact_r2)), f"R2 {r2:.6g} and {exact_r2:.6g}"
    return figures
