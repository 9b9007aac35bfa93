"""The C source of an integer program: one function per stage, from the templates beside this file.

Between stages all values are int32_t; what is kept from bin to bin has the smallest type that holds
its range.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

from spikereach.export import bounds
from spikereach.export.c.packing import GROUP, fields, packed, row_bytes, words
from spikereach.export.errors import ExportError
from spikereach.export.program import Layer, Program
from spikereach.models import stages

WIDEST = 25
"""Bits of a weight that C unpacks from one word of 32 bits."""
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


class Table(NamedTuple):
    """A constant array."""

    type: str
    name: str
    values: list[str]
    """As C."""
    comment: str


class Member(NamedTuple):
    """Of the struct of all state."""

    type: str
    name: str
    sizes: tuple[int, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class Input:
    """What enters a stage: spikes of a bin, from ``first`` on, or values."""

    size: int
    bits: int
    """Fractional bits."""
    end: int
    """Values lie from ``-end`` to ``end - 1``."""
    spikes: bool = False
    first: int = 0
    at: str = "0"
    """Row of the latest bin, as C."""


class Grid(NamedTuple):
    """How a sum is stored."""

    shift: int
    lowest: int
    highest: int


def files(program: Program, origin: Sequence[str]) -> dict[str, str]:
    """Names and content of decoder.h, decoder.c, weights.h and weights.c.

    Args:
        program: of a decoder.
        origin: lines of the header's comment.
    Raises:
        ExportError: 32-bit accumulators do not suffice, or the program has no form in C.
    """
    bounds.check(program)
    width = 1 + sum(program.weights)
    if width > WIDEST:
        raise ExportError(
            f"weights of {width} bits: C unpacks at most {WIDEST}; compress the decoder to fewer "
            "weight_bits"
        )
    source = _Source(program, width)
    decode = source.whole()
    spike_bytes = -(-program.channels // 8)
    shared = {
        "program": program,
        "origin": origin,
        "width": width,
        "spike_bytes": spike_bytes,
        "history": source.history,
        "members": source.bin_members(spike_bytes) + source.members,
        "tables": source.tables,
        "init": source.init,
        "functions": "\n\n".join(function.strip("\n") for function in source.functions),
        "decode": decode,
        "group": GROUP,
        "words": words(width),
        "fields": fields(width),
        "mask": (1 << width) - 1,
        "sign": 1 << (width - 1),
    }
    names = ("decoder.h", "decoder.c", "weights.h", "weights.c")
    return {name: TEMPLATES.get_template(f"{name}.jinja").render(shared) for name in names}


class _Source:
    """Collects functions, tables and state while it walks through the stages."""

    def __init__(self, program: Program, width: int):
        self.program, self.width = program, width
        self.fraction = program.weights[1]
        self.functions: list[str] = []
        self.tables: list[Table] = []
        self.members: list[Member] = []
        self.init: list[str] = []
        self.names: set[str] = set()
        self.found = bounds.bounds(program)
        kernels = _first_kernels(program.layers)
        self.history = max(kernels, default=1)

    def bin_members(self, spike_bytes: int) -> list[Member]:
        latest = [Member("uint16_t", "newest", (), "of the bins of spikes")]
        spikes = Member("uint8_t", "spikes", (self.history, spike_bytes), "bits of the latest bins")
        return [spikes] + latest * (self.history > 1)

    def whole(self) -> str:
        """The body of the function that decodes a bin."""
        layers = self.program.layers
        last = layers[-1].stage
        held = layers[:-1] if isinstance(last, stages.Keypoints) else layers
        at = "state->newest" if self.history > 1 else "0"
        spikes = Input(self.program.channels, 0, 2, spikes=True, at=at)
        output, waits = self.chain("network", held, spikes, 1)
        if output.size != 2:
            raise ExportError(f"the last stage gives {output.size} values: a velocity has two")
        if not isinstance(last, stages.Keypoints):
            if waits > 1:
                raise ExportError(
                    "there is no velocity at some steps: end the stages with Keypoints"
                )
            return "network(state, velocity);"
        if waits != last.period:
            raise ExportError(
                f"keypoints of {last.period} steps come every {waits} steps: make them equal"
            )
        self.members += [
            Member("int32_t", "keypoint_last", (2,)),
            Member("int32_t", "keypoint_new", (2,)),
            Member("uint16_t", "keypoint_step", (), "bins since then"),
            Member("uint8_t", "keypoint_number", (), "of keypoints so far, at most 2"),
        ]
        self.render("keypoints", period=last.period)
        if waits == 1:
            return (
                "int32_t keypoint[2];\n\nnetwork(state, keypoint);\n"
                "keypoints(state, 1, keypoint, velocity);"
            )
        return (
            "int32_t keypoint[2];\nconst int ready = network(state, keypoint);\n\n"
            "keypoints(state, ready, keypoint, velocity);"
        )

    def chain(
        self, name: str, layers: Sequence[Layer], entering: Input, period: int
    ) -> tuple[Input, int]:
        """A function that runs stages one after the other, and what it gives.

        Args:
            name: of the function.
            layers: of the program.
            entering: what the first one reads.
            period: bins from one input to the next.
        Returns:
            its output, and the bins from one output to the next.
        """
        steps, x, begun = [], entering, period
        for number, layer in enumerate(layers):
            call, x, period, ahead = self.stage(layer, x, period)
            steps.append((call, x.size, ahead, period))
        lines, sizes = [], []
        for number, (call, size, _, after) in enumerate(steps):
            source = "x" if number == 0 else f"x{number}"
            target = "y" if number == len(steps) - 1 else f"x{number + 1}"
            if number < len(steps) - 1:
                sizes.append(f"int32_t {target}[{size}];")
            calls = call(source, target)
            waits = after > (steps[number - 1][3] if number else begun)
            if not waits:
                lines += [f"{each};" for each in calls]
                continue
            lines += [f"{each};" for each in calls[:-1]]
            lines += [f"if (!{calls[-1]}) {{"]
            lines += [f"    {later[2]};" for later in steps[number + 1 :] if later[2]]
            lines += ["    return 0;", "}"]
        returns = period > begun
        self.functions.append(
            TEMPLATES.get_template("chain.c.jinja").render(
                name=name, spikes=entering.spikes, sizes=sizes, lines=lines, returns=returns
            )
        )
        return x, period

    def stage(self, layer: Layer, x: Input, period: int):
        """Call, output, period of outputs, and the call in bins without input (or None)."""
        stage = layer.stage
        match stage:
            case stages.Convolution():
                return self.convolution(layer, x, period)
            case stages.Parallel():
                return self.parallel(layer, x, period)
        if x.spikes and not isinstance(stage, stages.Linear | stages.LIF | stages.CurrentLIF):
            raise ExportError(
                f"{type(stage).__name__} reads spikes of the input: let a layer with weights "
                "come first"
            )
        match stage:
            case stages.Linear():
                name, after, stateful = self.linear(layer, x)
            case stages.LIF():
                name, after, stateful = self.lif(layer, x)
            case stages.CurrentLIF():
                name, after, stateful = self.current_lif(layer, x)
            case stages.Integrator():
                name, after, stateful = self.integrator(layer, x)
            case stages.CurrentIntegrator():
                name, after, stateful = self.current_integrator(layer, x)
            case stages.Mean():
                name, after, stateful = self.mean(layer, x)
            case stages.Keypoints():
                raise ExportError("keypoints come before other stages: they must come last")
        read = ("state",) if x.spikes or stateful else ()

        def call(source: str, target: str) -> list[str]:
            given = () if x.spikes else (source,)
            return [f"{name}({', '.join((*read, *given, target))})"]

        return call, after, period, None

    def convolution(self, layer: Layer, x: Input, period: int):
        stage, name = layer.stage, self.name(layer.stage.name)
        outputs, inputs, kernel = stage.weight.shape
        rows = stage.weight.transpose(2, 1, 0)
        self.weights(f"{name}_weight", rows, f"{kernel} taps of {inputs} rows of {outputs}")
        self.weights(f"{name}_bias", stage.bias, f"{outputs}")
        kept = integer_type(2 ** sum(stage.buffers))
        bits = self.fraction + x.bits
        early = max(kernel - stage.padding - 1, 0)
        if early:
            self.members.append(Member("uint16_t", f"{name}_early", (), "inputs before a frame"))
            self.init.append(f"state->{name}_early = {early};")
        settings = {
            "title": stage.name,
            "name": name,
            "kernel": kernel,
            "outputs": outputs,
            "input": x,
            "tap_bytes": inputs * row_bytes(outputs, self.width),
            "row_bytes": row_bytes(outputs, self.width),
            "one": 1 << x.bits,
            "grid": grid(bits, stage.buffers),
            "type": kept,
            "early": early,
        }
        ahead = None
        if x.spikes:
            settings["history"] = self.history
            self.render("convolution_of_spikes", **settings)
        else:
            share = -(-kernel // period) if period > 1 else 0
            ahead = f"{name}_ahead(state)" if share else None
            input_type, count_type = integer_type(x.end), unsigned_type(kernel)
            self.members += [
                Member(input_type, f"{name}_inputs", (kernel, inputs)),
                Member(count_type, f"{name}_oldest"),
                Member(count_type, f"{name}_tap", (), "the next to be added"),
                Member("int32_t", f"{name}_sums", (outputs,)),
            ]
            self.render(
                "convolution",
                share=share,
                input_type=input_type,
                count_type=count_type,
                **settings,
            )
        self.members += [
            Member(kept, f"{name}_first", (outputs,), "of two frames"),
            Member("uint8_t", f"{name}_waiting", (), "whether it waits for the second"),
        ]

        def call(source: str, target: str) -> list[str]:
            given = () if x.spikes else (source,)
            return [f"{name}({', '.join(('state', *given, target))})"]

        return call, Input(outputs, layer.output_bits, 2 ** sum(stage.buffers)), 2 * period, ahead

    def parallel(self, layer: Layer, x: Input, period: int):
        first, written, calls, afters = 0, 0, [], []
        aheads = []
        for channels, branch in zip(layer.stage.channels, layer.stage.branches, strict=True):
            name = self.name(f"area_{len(calls) + 1}")
            part = replace(x, size=channels, first=x.first + first if x.spikes else 0)
            after, ends = self.chain(name, branch, part, period)
            calls.append((name, first, written))
            afters.append((after, ends))
            first, written = first + channels, written + after.size
        ends = {end for _, end in afters}
        if len(ends) != 1:
            raise ExportError(
                f"branches give an output every {sorted(ends)} steps: make them equal"
            )
        (end,) = ends
        waits = end > period

        def call(source: str, target: str) -> list[str]:
            lines = []
            for number, (name, begin, to) in enumerate(calls):
                given = () if x.spikes else (f"{source} + {begin}" if begin else source,)
                into = f"{target} + {to}" if to else target
                told = f"{name}({', '.join(('state', *given, into))})"
                # All areas are ready at the same steps.
                void = "(void)" if waits and number < len(calls) - 1 else ""
                lines.append(void + told)
            return lines

        values = max(after.end for after, _ in afters)
        return call, Input(written, layer.output_bits, values), end, None

    def linear(self, layer: Layer, x: Input):
        stage, name = layer.stage, self.name(layer.stage.name)
        outputs = len(stage.weight)
        self.weights(f"{name}_weight", stage.weight.T, f"{x.size} rows of {outputs}")
        if stage.bias is not None:
            self.weights(f"{name}_bias", stage.bias, f"{outputs}")
        self.render(
            "linear",
            title=stage.name,
            name=name,
            outputs=outputs,
            bias=stage.bias is not None,
            one=1 << x.bits,
            input=x,
        )
        return name, Input(outputs, layer.output_bits, self.bound(stage.name) + 1), False

    def lif(self, layer: Layer, x: Input):
        stage, name = layer.stage, self.name(layer.stage.name)
        outputs, recurrent = len(stage.input.weight), stage.recurrent
        finest = max(x.bits, stage.membranes[1])
        of_weights = 1 << finest
        self.weights(f"{name}_input", stage.input.weight.T, f"{x.size} rows of {outputs}")
        if stage.input.bias is not None:
            self.weights(f"{name}_bias", stage.input.bias, f"{outputs}")
        if recurrent is not None:
            self.weights(f"{name}_recurrent", recurrent.weight.T, f"{outputs} rows of {outputs}")
            if recurrent.bias is not None:
                self.weights(f"{name}_recurrent_bias", recurrent.bias, f"{outputs}")
        kept, keeps = integer_type(2 ** sum(stage.membranes)), False
        self.members.append(Member(kept, f"{name}_v", (outputs,), "membranes"))
        if recurrent is not None or stage.reset != "none":
            keeps = True
            self.members.append(Member("uint8_t", f"{name}_z", (-(-outputs // 8),), "spikes, bits"))
        self.render(
            "lif",
            title=stage.name,
            name=name,
            outputs=outputs,
            input=x,
            bias=stage.input.bias is not None,
            recurrent=recurrent is not None,
            recurrent_bias=recurrent is not None and recurrent.bias is not None,
            of_x=1 << finest - x.bits,
            of_weights=of_weights,
            decay=stage.decay << finest - stage.membranes[1],
            threshold=stage.threshold << finest,
            fires_above=(stage.threshold << stage.membranes[1]) >> self.fraction,
            reset=stage.reset,
            grid=grid(self.fraction + finest, stage.membranes),
            type=kept,
            keeps=keeps,
        )
        return name, Input(outputs, 0, 2), True

    def current_lif(self, layer: Layer, x: Input):
        stage, name = layer.stage, self.name(layer.stage.name)
        outputs = len(stage.mem)
        self.weights(f"{name}_input", stage.input.weight.T, f"{x.size} rows of {outputs}")
        self.weights(f"{name}_recurrent", stage.recurrent.weight.T, f"{outputs} rows of {outputs}")
        biases = []
        for each, bias in (("input", stage.input.bias), ("recurrent", stage.recurrent.bias)):
            if bias is not None:
                biases.append(f"{name}_{each}_bias")
                self.weights(biases[-1], bias, f"{outputs}")
        self.render(
            "current_lif",
            input=x,
            biases=biases,
            one=1 << x.bits,
            threshold=1 << stage.membranes[1],
            **self.currents(
                stage, name, self.fraction + x.bits, self.bound(f"{stage.name}: arriving") + 1
            ),
        )
        return name, Input(outputs, 0, 2), True

    def current_integrator(self, layer: Layer, x: Input):
        stage, name = layer.stage, self.name(layer.stage.name)
        self.render("current_integrator", **self.currents(stage, name, x.bits, x.end))
        if stage.start:
            self.init.append(f"for (i = 0; i < {len(stage.mem)}; i++) {{")
            self.init.append(f"    state->{name}_v[i] = {stage.start};")
            self.init.append("}")
        return name, Input(len(stage.mem), layer.output_bits, 2 ** sum(stage.membranes)), True

    def currents(self, stage, name: str, before: int, arriving: int) -> dict[str, Any]:
        """Tables and state of membranes with synaptic currents, and settings of their template."""
        outputs, bits = len(stage.mem), self.fraction + stage.membranes[1]
        finest = max(bits, before)
        kept, waiting = integer_type(2 ** sum(stage.membranes)), integer_type(arriving)
        for each in ("mem", "syn"):
            values = getattr(stage, each)
            kind = integer_type(1 << sum(self.program.weights))
            self.tables.append(
                Table(kind, f"{name}_{each}", [str(value) for value in values], "decays")
            )
        self.members += [
            Member(kept, f"{name}_v", (outputs,), "membranes"),
            Member(kept, f"{name}_i", (outputs,), "synaptic currents"),
            Member(waiting, f"{name}_arriving", (outputs,), "to be added at the next step"),
        ]
        return {
            "title": stage.name,
            "name": name,
            "outputs": outputs,
            "unit": 1 << self.fraction,
            "of_i": 1 << finest - bits,
            "of_arriving": 1 << finest - before,
            "grid": grid(bits, stage.membranes),
            "current_grid": grid(finest, stage.membranes),
            "type": kept,
            "arriving_type": waiting,
        }

    def integrator(self, layer: Layer, x: Input):
        stage, name = layer.stage, self.name(layer.stage.name)
        bits = self.fraction + stage.membranes[1]
        finest = max(bits, x.bits)
        kept = integer_type(2 ** sum(stage.membranes))
        self.members.append(Member(kept, f"{name}_v", (x.size,), "membranes"))
        self.render(
            "integrator",
            title=stage.name,
            name=name,
            outputs=x.size,
            decay=stage.decay << finest - bits,
            of_x=1 << finest - x.bits,
            grid=grid(finest, stage.membranes),
            type=kept,
        )
        return name, Input(x.size, layer.output_bits, 2 ** sum(stage.membranes)), True

    def mean(self, layer: Layer, x: Input):
        groups, name = layer.stage.groups, self.name("mean")
        self.render("mean", name=name, groups=groups, outputs=x.size // groups)
        return name, Input(x.size // groups, layer.output_bits, x.end * groups), False

    def name(self, name: str) -> str:
        """As C, and of no other stage."""
        plain = re.sub(r"\W", "_", name)
        plain = plain if plain[0].isalpha() else f"layer_{plain}"
        if plain in self.names:
            raise ExportError(f"two stages are called {name}: give each a name of its own")
        self.names.add(plain)
        return plain

    def bound(self, name: str) -> int:
        return next(each.largest for each in self.found if each.layer == name)

    def weights(self, name: str, rows: np.ndarray, comment: str) -> None:
        content = packed(rows, self.width)
        values = [f"0x{byte:02x}" for byte in content]
        self.tables.append(Table("uint8_t", name, values, comment))

    def render(self, template: str, **settings: Any) -> None:
        self.functions.append(TEMPLATES.get_template(f"{template}.c.jinja").render(settings))


def grid(bits: int, stored: tuple[int, int]) -> Grid:
    """Of sums with ``bits`` fractional bits in a format of integer and fractional bits."""
    end = 1 << sum(stored)
    return Grid(bits - stored[1], -end, end - 1)


def integer_type(end: int) -> str:
    """The smallest type of C that holds ``-end`` to ``end - 1``."""
    return next(f"int{bits}_t" for bits in (8, 16, 32) if end <= 2 ** (bits - 1))


def unsigned_type(largest: int) -> str:
    return "uint8_t" if largest < 2**8 else "uint16_t"


def _first_kernels(layers: Sequence[Layer]) -> list[int]:
    """Kernels of the convolutions that read the input."""
    stage = layers[0].stage
    if isinstance(stage, stages.Parallel):
        return [kernel for branch in stage.branches for kernel in _first_kernels(branch)]
    return [stage.weight.shape[2]] if isinstance(stage, stages.Convolution) else []
