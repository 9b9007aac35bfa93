"""Each stage in C; its template beside this file has the same name."""

from typing import Any

from spikereach.export.c.parts import (
    Input,
    Member,
    Numbers,
    Part,
    Table,
    count_type,
    grid,
    integer_type,
    render,
)
from spikereach.export.errors import ExportError
from spikereach.export.program import Layer
from spikereach.models import stages


def part(layer: Layer, x: Input, name: str, numbers: Numbers, period: int) -> Part:
    """A stage that is no :class:`.Parallel`.

    Args:
        layer: of a program.
        x: what enters it.
        name: of its function.
        numbers: of the program.
        period: bins from one input to the next.
    Raises:
        ExportError: the stage has no form in C, or not with this input.
    """
    match layer.stage:
        case stages.Convolution():
            if x.spikes:
                return _convolution_of_spikes(layer, x, name, numbers)
            return _convolution(layer, x, name, numbers, period)
        case stages.Linear():
            return _linear(layer, x, name, numbers)
        case stages.LIF():
            return _lif(layer, x, name, numbers)
        case stages.CurrentLIF():
            return _current_lif(layer, x, name, numbers)
    if x.spikes:
        raise ExportError(f"{name} reads spikes of the input: let a layer with weights come first")
    match layer.stage:
        case stages.Integrator():
            return _integrator(layer, x, name, numbers)
        case stages.CurrentIntegrator():
            return _current_integrator(layer, x, name, numbers)
        case stages.Mean(groups):
            outputs = x.size // groups
            after = Input(outputs, layer.output_bits, groups * x.end)
            return Part(name, after, render("mean.c", name=name, groups=groups, outputs=outputs))
    raise ExportError(f"{name} comes before other stages: it must be the last one")


def _frames(layer: Layer, x: Input, name: str, numbers: Numbers) -> tuple[dict[str, Any], Part]:
    """Settings of a convolution's template, and its part without the function."""
    stage = layer.stage
    outputs, inputs, kernel = stage.weight.shape
    end = 1 << sum(stage.buffers)
    early = max(kernel - stage.padding - 1, 0)
    settings = {
        "title": stage.name,
        "name": name,
        "numbers": numbers,
        "input": x,
        "kernel": kernel,
        "outputs": outputs,
        "tap_bytes": inputs * numbers.row_bytes(outputs),
        "row_bytes": numbers.row_bytes(outputs),
        "one": 1 << x.bits,
        "grid": grid(numbers.fraction + x.bits, stage.buffers),
        "type": integer_type(end),
        "early": early,
    }
    made = Part(
        name,
        Input(outputs, layer.output_bits, end),
        tables=[
            numbers.weights(f"{name}_weight", stage.weight.transpose(2, 1, 0)),
            numbers.weights(f"{name}_bias", stage.bias),
        ],
        members=[
            Member(integer_type(end), f"{name}_first", (outputs,), "of two frames"),
            Member("uint8_t", f"{name}_waiting", (), "whether it waits for the second"),
        ],
        inputs=2,
    )
    if early:
        kept = Member(count_type(early), f"{name}_early", (), "inputs before there are frames")
        made.members.append(kept)
        made.init.append(f"state->{name}_early = {early};")
    return settings, made


def _convolution_of_spikes(layer: Layer, x: Input, name: str, numbers: Numbers) -> Part:
    settings, made = _frames(layer, x, name, numbers)
    made.function = render("convolution_of_spikes.c", **settings)
    return made


def _convolution(layer: Layer, x: Input, name: str, numbers: Numbers, period: int) -> Part:
    settings, made = _frames(layer, x, name, numbers)
    kernel, outputs = settings["kernel"], settings["outputs"]
    kept, counts = integer_type(x.end), count_type(kernel)
    if period > 1:
        made.ahead = f"{name}_ahead"
    made.members += [
        Member(kept, f"{name}_inputs", (kernel, x.size), "in a ring"),
        Member(counts, f"{name}_oldest", (), "of them"),
        Member("int32_t", f"{name}_sums", (outputs,), "over the first taps"),
        Member(counts, f"{name}_tap", (), "of them"),
    ]
    share = -(-kernel // period)
    made.function = render(
        "convolution.c", **settings, share=share, ahead=made.ahead, input_type=kept, counts=counts
    )
    return made


def _linear(layer: Layer, x: Input, name: str, numbers: Numbers) -> Part:
    stage = layer.stage
    outputs = len(stage.weight)
    after = Input(outputs, layer.output_bits, numbers.bounds[stage.name].largest + 1)
    made = Part(name, after, tables=_received(name, "weight", stage, numbers))
    made.function = render(
        "linear.c",
        title=stage.name,
        name=name,
        numbers=numbers,
        input=x,
        outputs=outputs,
        bias=_bias(made.tables),
        one=1 << x.bits,
    )
    return made


def _lif(layer: Layer, x: Input, name: str, numbers: Numbers) -> Part:
    stage, recurrent = layer.stage, []
    outputs, fraction = len(stage.input.weight), stage.membranes[1]
    finest = max(x.bits, fraction)
    kept = integer_type(1 << sum(stage.membranes))
    received = _received(name, "input", stage.input, numbers)
    if stage.recurrent is not None:
        recurrent = _received(name, "recurrent", stage.recurrent, numbers)
    members = [Member(kept, f"{name}_v", (outputs,), "membranes")]
    keeps = bool(recurrent) or stage.reset != "none"
    if keeps:
        members.append(Member("uint8_t", f"{name}_z", (-(-outputs // 8),), "last spikes, as bits"))
    function = render(
        "lif.c",
        title=stage.name,
        name=name,
        numbers=numbers,
        input=x,
        outputs=outputs,
        bias=_bias(received),
        recurrent=bool(recurrent),
        recurrent_bias=_bias(recurrent),
        of_x=1 << finest - x.bits,
        of_weights=1 << finest,
        decay=stage.decay << finest - fraction,
        threshold=stage.threshold << finest,
        fires_above=stage.threshold << finest >> numbers.fraction + finest - fraction,
        reset=stage.reset,
        bits=(fraction, numbers.fraction + finest),
        grid=grid(numbers.fraction + finest, stage.membranes),
        type=kept,
        keeps=keeps,
    )
    return Part(name, Input(outputs, 0, 2), function, received + recurrent, members)


def _current_lif(layer: Layer, x: Input, name: str, numbers: Numbers) -> Part:
    stage = layer.stage
    arriving = numbers.bounds[f"{stage.name}: arriving"].largest + 1
    settings, tables, members = _currents(stage, name, numbers, numbers.fraction + x.bits, arriving)
    received = _received(name, "input", stage.input, numbers)
    recurrent = _received(name, "recurrent", stage.recurrent, numbers)
    function = render(
        "current_lif.c",
        **settings,
        numbers=numbers,
        input=x,
        bias=_bias(received),
        recurrent_bias=_bias(recurrent),
        one=1 << x.bits,
        threshold=1 << stage.membranes[1],
    )
    after = Input(settings["outputs"], 0, 2)
    return Part(name, after, function, received + recurrent + tables, members)


def _current_integrator(layer: Layer, x: Input, name: str, numbers: Numbers) -> Part:
    stage = layer.stage
    settings, tables, members = _currents(stage, name, numbers, x.bits, x.end)
    outputs = settings["outputs"]
    init = [f"for (i = 0; i < {outputs}; i++) {{", f"    state->{name}_v[i] = {stage.start};", "}"]
    after = Input(outputs, layer.output_bits, 1 << sum(stage.membranes))
    function = render("current_integrator.c", **settings)
    return Part(name, after, function, tables, members, init if stage.start else [])


def _currents(
    stage: stages.CurrentLIF | stages.CurrentIntegrator,
    name: str,
    numbers: Numbers,
    before: int,
    arriving: int,
) -> tuple[dict[str, Any], list[Table], list[Member]]:
    """Settings, tables and state of membranes with synaptic currents.

    What arrives has ``before`` fractional bits and lies from ``-arriving`` to ``arriving - 1``.
    """
    outputs, bits = len(stage.mem), numbers.fraction + stage.membranes[1]
    finest = max(bits, before)
    kept, waiting = integer_type(1 << sum(stage.membranes)), integer_type(arriving)
    decay = integer_type(1 << numbers.width - 1)
    tables = [
        Table(decay, f"{name}_{each}", list(map(str, getattr(stage, each))), "decays")
        for each in ("mem", "syn")
    ]
    members = [
        Member(kept, f"{name}_v", (outputs,), "membranes"),
        Member(kept, f"{name}_i", (outputs,), "synaptic currents"),
        Member(waiting, f"{name}_arriving", (outputs,), "to be added at the next step"),
    ]
    settings = {
        "title": stage.name,
        "name": name,
        "outputs": outputs,
        "unit": 1 << numbers.fraction,
        "of_i": 1 << finest - bits,
        "of_arriving": 1 << finest - before,
        "grid": grid(bits, stage.membranes),
        "current_grid": grid(finest, stage.membranes),
        "type": kept,
        "arriving_type": waiting,
    }
    return settings, tables, members


def _integrator(layer: Layer, x: Input, name: str, numbers: Numbers) -> Part:
    stage, end = layer.stage, 1 << sum(layer.stage.membranes)
    bits = numbers.fraction + stage.membranes[1]
    finest = max(bits, x.bits)
    function = render(
        "integrator.c",
        title=stage.name,
        name=name,
        outputs=x.size,
        decay=stage.decay << finest - bits,
        of_x=1 << finest - x.bits,
        grid=grid(finest, stage.membranes),
        type=integer_type(end),
    )
    members = [Member(integer_type(end), f"{name}_v", (x.size,), "membranes")]
    return Part(name, Input(x.size, layer.output_bits, end), function, members=members)


def _received(name: str, kind: str, layer: stages.Linear, numbers: Numbers) -> list[Table]:
    """A row for each input, and one of the bias where there is one."""
    tables = [numbers.weights(f"{name}_{kind}", layer.weight.T)]
    if layer.bias is not None:
        bias = f"{name}_bias" if kind == "weight" else f"{name}_{kind}_bias"
        tables.append(numbers.weights(bias, layer.bias))
    return tables


def _bias(tables: list[Table]) -> str | None:
    """Name of the bias among tables of :func:`_received`."""
    return tables[1].name if len(tables) > 1 else None
