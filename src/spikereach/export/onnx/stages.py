"""Each stage of `models.stages` as ONNX nodes.

Values are float32 throughout. In fixed point they are multiples of a power of two, and as long as
sums stay below 2**24 of them, float32 holds them exactly, in whatever order they are added.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from spikereach.export.errors import ExportError
from spikereach.export.graphs import array
from spikereach.export.onnx.building import Builder, Signal
from spikereach.models import stages
from spikereach.ops.common.fixed_point import stored


def sequence(builder: Builder, chain: Sequence[stages.Stage], x: Signal) -> Signal:
    """Stages one after the other.

    Raises:
        ExportError: a stage of an unknown kind.
    """
    for stage in chain:
        if type(stage) not in EMITTERS:
            known = ", ".join(kind.__name__ for kind in EMITTERS)
            raise ExportError(
                f"the stage {stage!r} has no ONNX graph; known: {known}; write one in {__name__}"
            )
        x = EMITTERS[type(stage)](builder, stage, x)
    return x


def _convolution(b: Builder, stage: stages.Convolution, x: Signal) -> Signal:
    """The frame of the latest inputs, at every step; a counter says whether it is one."""
    channels, inputs, kernel = stage.weight.shape
    missing = kernel - 1 - stage.padding
    latest = b.state(f"{stage.name}.latest", (inputs, kernel - 1))
    # Counts up to `missing`; then frames come, and one more says that a frame waits for its
    # partner.
    count = b.state(f"{stage.name}.count", (), np.int64)
    waiting = b.state(f"{stage.name}.waiting", (channels,))

    window = b.op("Concat", latest, b.op("Unsqueeze", x.value, [1]), axis=1)
    weight = b.weight(f"{stage.name}.weight", array(stage.weight))
    bias = b.weight(f"{stage.name}.bias", array(stage.bias))
    frame = b.op("Conv", b.op("Unsqueeze", window, [0]), weight, bias)
    frame = b.stored(b.op("Squeeze", frame, [0, 2]), stage.buffers)

    waits = b.op("Greater", count, missing)
    kept = b.op("Slice", window, [1], [kernel], [1])
    b.update(latest, kept, x.ready)
    following = b.op("Where", waits, missing, b.op("Add", count, 1))
    b.update(count, following, x.ready)
    b.update(waiting, frame, x.ready)
    ready = waits if x.ready is None else b.op("And", x.ready, waits)
    return Signal(b.op("Max", waiting, frame), channels, ready)


def _linear(b: Builder, stage: stages.Linear, x: Signal) -> Signal:
    return x._replace(value=_send(b, stage, x.value), size=len(stage.weight))


def _send(b: Builder, stage: stages.Linear, value: str) -> str:
    """``W x + b`` of a vector."""
    sent = b.op("MatMul", b.weight(f"{stage.name}.weight", array(stage.weight)), value)
    if stage.bias is None:
        return sent
    return b.op("Add", sent, b.weight(f"{stage.name}.bias", array(stage.bias)))


def _lif(b: Builder, stage: stages.LIF, x: Signal) -> Signal:
    size = len(stage.input.weight)
    v = b.state(f"{stage.name}.v", (size,))
    z = _fire(b, v, stage.threshold)  # of the last step, whose spikes follow from its membranes
    current = _send(b, stage.input, x.value)
    if stage.recurrent is not None:
        current = b.op("Add", current, _send(b, stage.recurrent, z))
    before = _unless(b, z, v) if stage.reset == "zero" else v
    after = b.op("Add", b.op("Mul", before, stage.decay), current)
    if stage.reset == "subtract":
        after = b.op("Sub", after, b.op("Mul", z, stage.threshold))
    elif stage.reset == "zero_and_input":
        after = _unless(b, z, after)
    after = b.stored(after, stage.membranes)
    b.update(v, after, x.ready)
    return Signal(_fire(b, after, stage.threshold), size, x.ready)


def _current_lif(b: Builder, stage: stages.CurrentLIF, x: Signal) -> Signal:
    size, half = len(stage.mem), stage.input.weight.dtype == torch.float16
    rounded = _rounding(b, half)
    v, i, arriving = (b.state(f"{stage.name}.{name}", (size,)) for name in ("v", "i", "arriving"))
    fired = _fire(b, v, 1.0)
    membrane, current = _filtered(b, stage, rounded, v, i, arriving)
    membrane = _unless(b, fired, membrane)
    received, recurrent = _send(b, stage.input, x.value), _send(b, stage.recurrent, fired)
    sent = rounded(b.op("Add", rounded(received), rounded(recurrent)))
    b.update(v, b.stored(membrane, stage.membranes), x.ready)
    b.update(i, b.stored(current, stage.membranes), x.ready)
    b.update(arriving, sent, x.ready)
    return Signal(fired, size, x.ready)


def _integrator(b: Builder, stage: stages.Integrator, x: Signal) -> Signal:
    v = b.state(f"{stage.name}.v", (x.size,))
    after = b.op("Add", b.op("Mul", v, stage.decay), x.value)
    return x._replace(value=b.update(v, b.stored(after, stage.membranes), x.ready))


def _current_integrator(b: Builder, stage: stages.CurrentIntegrator, x: Signal) -> Signal:
    rounded = _rounding(b, stage.mem.dtype == torch.float16)
    v = b.state(f"{stage.name}.v", (x.size,), start=_start(stage))
    i, arriving = (b.state(f"{stage.name}.{name}", (x.size,)) for name in ("i", "arriving"))
    membrane, current = _filtered(b, stage, rounded, v, i, arriving)
    membrane = b.stored(membrane, stage.membranes)
    b.update(i, b.stored(current, stage.membranes), x.ready)
    b.update(arriving, rounded(x.value), x.ready)
    return x._replace(value=b.update(v, membrane, x.ready))


def _start(stage: stages.CurrentIntegrator) -> float:
    """The first membrane as it is stored."""
    start = torch.tensor(stage.start, dtype=stage.mem.dtype).float()
    return float(stored(start, stage.membranes))


def _filtered(
    b: Builder,
    stage: stages.CurrentLIF | stages.CurrentIntegrator,
    rounded: Callable[[str], str],
    v: str,
    i: str,
    arriving: str,
) -> tuple[str, str]:
    """Membrane and synaptic current of `current_integrator_step`."""
    mem = b.weight(f"{stage.name}.mem", array(stage.mem))
    rest = b.weight(f"{stage.name}.rest", array(1 - stage.mem))
    syn = b.weight(f"{stage.name}.syn", array(stage.syn))
    membrane = b.op("Add", rounded(b.op("Mul", mem, v)), rounded(b.op("Mul", rest, i)))
    current = b.op("Add", rounded(b.op("Mul", syn, i)), arriving)
    return rounded(membrane), rounded(current)


def _rounding(b: Builder, half: bool) -> Callable[[str], str]:
    """Weights in half precision: every sum and product is rounded to it, as in the decoder."""
    return lambda value: b.stored(value, "float16" if half else "float32")


def _fire(b: Builder, v: str, threshold: float) -> str:
    return b.cast(b.op("Greater", v, threshold), np.float32)


def _unless(b: Builder, z: str, v: str) -> str:
    """Membranes, of neurons that spike zero."""
    return b.op("Mul", v, b.op("Sub", 1.0, z))


def _mean(b: Builder, stage: stages.Mean, x: Signal) -> Signal:
    apart = b.op("Reshape", x.value, [stage.groups, -1])
    total = b.op("ReduceSum", apart, [0], keepdims=0)
    mean = b.op("Div", total, float(stage.groups))
    return x._replace(value=mean, size=x.size // stage.groups)


def _keypoints(b: Builder, stage: stages.Keypoints, x: Signal) -> Signal:
    """A table has the share of the new keypoint at each step: before the first keypoint (row 0),
    from the first on, and from every other on."""
    period = stage.period
    ramp = np.arange(1, period + 1, dtype=np.float32) / np.float32(period)
    shares = np.concatenate([np.zeros(period, np.float32), [1], ramp]).astype(np.float32)
    last, new = (b.state(f"keypoints.{n}", (x.size,)) for n in ("last", "new"))
    row = b.state("keypoints.row", (), np.int64)

    none_yet = b.op("Equal", row, 0)
    first = b.op("Where", none_yet, 1, period + 1)
    later = b.op("Where", none_yet, 0, b.op("Add", row, 1))
    row = b.update(row, first if x.ready is None else b.op("Where", x.ready, first, later), None)
    last, new = b.update(last, new, x.ready), b.update(new, x.value, x.ready)
    share = b.op("Gather", shares, row)
    between = b.op("Mul", b.op("Sub", new, last), share)
    return Signal(b.op("Add", last, between), x.size)


def _parallel(b: Builder, stage: stages.Parallel, x: Signal) -> Signal:
    """Branches whose outputs come at the same steps, joined."""
    rhythms = {
        tuple(
            (each.weight.shape[2], each.padding)
            for each in stages.flat(branch)
            if isinstance(each, stages.Convolution)
        )
        for branch in stage.branches
    }
    if len(rhythms) > 1:
        raise ExportError(
            "branches for cortex areas have convolutions of different kernels and paddings "
            f"({sorted(rhythms)}), so that their outputs come at different steps: give them the "
            "same"
        )
    parts = b.split(x.value, stage.channels)
    inputs = zip(stage.branches, parts, stage.channels, strict=True)
    outputs = [sequence(b, branch, Signal(part, n, x.ready)) for branch, part, n in inputs]
    joined = b.op("Concat", *(each.value for each in outputs), axis=0)
    return Signal(joined, sum(each.size for each in outputs), outputs[0].ready)


EMITTERS = {
    stages.Convolution: _convolution,
    stages.Linear: _linear,
    stages.LIF: _lif,
    stages.CurrentLIF: _current_lif,
    stages.Integrator: _integrator,
    stages.CurrentIntegrator: _current_integrator,
    stages.Mean: _mean,
    stages.Keypoints: _keypoints,
    stages.Parallel: _parallel,
}
