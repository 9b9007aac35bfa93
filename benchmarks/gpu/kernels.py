"""Compiled kernels against the loop over time in float64: outputs and gradients."""

import itertools
from collections.abc import Iterator

import operations
import torch
from operations import OPERATIONS, Operation, Options

from gpu.checks import Check, Device, Figures
from gpu.exact import difference, noting_distances, parted
from spikereach.models.hybrid import Block
from spikereach.ops.common.backends import only
from spikereach.ops.common.fixed_point import Formats

ROUNDING = 1e-5
"""Largest distance from the threshold at which a spike may flip."""
PARTING = 0.1
"""Largest share of streams that part."""
TOLERANCE = {"outputs": 2e-5, "gradients": 1e-4}
"""Largest difference, as a part of the largest value where that is above one."""

# steps, streams, units: single ones, odd ones, the edges of a program's registers, recordings of
# one stream, thousands of streams.
SIZES = [
    (1, 1, 1),
    (20, 1, 64),
    (33, 3, 7),
    (17, 5, 100),
    (70, 2, 128),
    (40, 4097, 64),
    (21, 2500, 17),
    (5000, 1, 56),
    (500, 250, 64),
]
FEW = [(1, 1, 1), (20, 1, 16), (18, 3, 7)]
USUAL, SHORT = (33, 5, 21), (17, 2, 9)
MANY = {"inputs": 96, "outputs": 2, "dropout": (0.3, 0.3)}
"""Of a layer that receives inputs, with these sizes."""
LOSSES = itertools.cycle(["each step", "sum over time", "mean", None])


def checks(device: Device) -> Iterator[Check]:
    for name, operation in OPERATIONS.items():
        for sizes, changed in cases(operation, device):
            options = first(operation) | sizes | changed
            told = ", ".join([name, *_told(sizes, changed)])
            loss = next(LOSSES)

            def run(operation=operation, options=options, loss=loss) -> Figures:
                return compare(operation, options, loss)

            yield Check(told, run)
    for norm, stored in ((True, "float32"), (False, "float32"), (False, (1, 4))):
        for spikes in (True, False):
            told = f"conv_pool, norm {norm}, spikes {spikes}, stored {_short(stored)}"

            def run_block(norm=norm, spikes=spikes, stored=stored) -> Figures:
                return block(device, norm, spikes, stored)

            yield Check(told, run_block)


def cases(operation: Operation, device: Device) -> Iterator[tuple[Options, Options]]:
    """Sizes, and what is not as usual: every reset with every surrogate, every other option, every
    size."""
    options, usual = operation.options, device.of(USUAL, SHORT)
    crossed = [name for name in ("reset", "surrogate") if name in options]
    found = [
        (usual, dict(zip(crossed, values, strict=True)))
        for values in itertools.product(*(options[name] for name in crossed))
    ]
    for name in [name for name in options if name not in crossed]:
        found += [(usual, {name: value}) for value in options[name][1:]]
    many = {name: value for name, value in MANY.items() if value in options.get(name, ())}
    for sizes, wide in itertools.product(device.of(SIZES, FEW), options.get("wide", [None])):
        found.append((sizes, many | ({} if wide is None else {"wide": wide})))
    for seed, (sizes, changed) in enumerate(found):
        yield dict(zip(("steps", "batch", "units"), sizes, strict=True)) | {"seed": seed}, changed


def first(operation: Operation) -> Options:
    """The usual options."""
    return {name: values[0] for name, values in operation.options.items()}


def _told(sizes: Options, changed: Options) -> Iterator[str]:
    """In words."""
    yield "{steps} steps x {batch} streams x {units} units".format(**sizes)
    for name, value in changed.items():
        yield f"{name} {_short(value)}"


def _short(value: object) -> str:
    value = getattr(value, "shape", value)
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return str(value).removeprefix("torch.")


def compare(operation: Operation, options: Options, loss: str | None) -> Figures:
    """One case: largest differences from float64, and how many streams parted."""
    drawn = operation.draw(options)
    if options.get("fixed_point"):
        # Rounding to a grid decides as thresholds do. On a coarse grid nothing else is rounded, so
        # that every order of a sum gives the same bits.
        drawn = {name: (t * 64).round() / 64 for name, t in drawn.items()}
    exact = {name: t.double() for name, t in drawn.items()}
    backend = operations.BACKEND if operations.BACKEND in operation.backends else None
    leaves, ours = _run(operation, drawn, options, backend)
    with noting_distances() as calls:
        others, theirs = _run(operation, exact, options, "reference")
    streams = torch.zeros(options["batch"], dtype=torch.bool)
    if calls:
        rounding = 0.0 if options.get("fixed_point") else ROUNDING
        streams = parted({"": ours[0]}, {"": theirs[0]}, calls, rounding=rounding, parting=PARTING)
    kept = ~streams.to(operations.DEVICE)
    found = {"outputs": max(map(difference, _cut(ours, kept), _cut(theirs, kept)))}
    if operation.differentiable:
        for tensors, outputs in ((leaves, ours), (others, theirs)):
            _backward(tensors, outputs, kept, loss)
        found["gradients"] = max(
            (difference(leaves[n].grad, t.grad) for n, t in others.items() if t.grad is not None),
            default=0.0,
        )
    _assert_within(found)
    return found | ({"streams that part": int(streams.sum())} if calls else {})


def _run(operation, drawn, options, backend):
    leaves = {
        name: t.to(operations.DEVICE).requires_grad_(operation.differentiable)
        for name, t in drawn.items()
    }
    return leaves, operation.run(leaves, options, backend)


def _cut(outputs, kept):
    """Of the streams, which are the last axis but one."""
    return [output.detach()[..., kept, :] for output in outputs]


def _backward(leaves, outputs, kept, loss) -> None:
    """Through a random loss of all outputs but, perhaps, the sequence; of these streams."""
    generator, total = torch.Generator().manual_seed(5), 0.0
    for number, output in enumerate(outputs):
        way = "each step" if number else loss
        output = output * kept[:, None]
        draw = torch.randn(output.shape, generator=generator).to(output)
        if way == "each step":
            total = total + (output * draw).sum()
        elif way == "sum over time":
            total = total + (output.sum(0) * draw[0]).sum()
        elif way == "mean":
            total = total + output.mean()
    total.backward()


def block(device: Device, norm: bool, spikes: bool, stored) -> Figures:
    """A convolution block in training, as a GPU runs it, against float64 on the CPU."""
    batch, steps, inputs, channels, kernel = device.of((64, 1023, 96, 40, 9), (3, 61, 7, 5, 4))
    torch.manual_seed(0)
    ours = Block(inputs, channels, kernel, norm=norm, dropout=0.4, spikes=spikes)
    x = torch.randn(batch, steps, inputs)
    if spikes:
        x = (x > 1.5).float()
    if stored != "float32":  # as above
        x = (x * 4).round() / 4
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter.copy_((parameter * 64).round() / 64)
    theirs = Block(inputs, channels, kernel, norm=norm, dropout=0.4, spikes=spikes).double()
    theirs.load_state_dict(ours.state_dict())
    ours.to(device.type)
    results = []
    for net, on, kind in ((ours, device.type, torch.float32), (theirs, "cpu", torch.float64)):
        leaf = x.to(on, kind, copy=True).requires_grad_(not spikes)
        torch.manual_seed(1)  # of dropout
        with only("reference"):
            (frames,), state = net([leaf], net.init_state(batch), Formats(buffers=stored))
        draw = torch.randn(frames.shape, generator=torch.Generator().manual_seed(5))
        (frames * draw.to(frames)).sum().backward()
        gradients = [p.grad for n, p in net.named_parameters() if not (norm and n == "conv.bias")]
        results.append(([frames, state.odd], gradients + ([] if spikes else [leaf.grad])))
    (outputs, gradients), (exact_outputs, exact_gradients) = results
    found = {
        "outputs": max(map(difference, outputs, exact_outputs)),
        "gradients": max(map(difference, gradients, exact_gradients)),
    }
    _assert_within(found)
    return found


def _assert_within(found: Figures) -> None:
    for what, most in found.items():
        assert most <= TOLERANCE[what], f"{what} differ by {most:.2g}, allowed {TOLERANCE[what]:g}"
