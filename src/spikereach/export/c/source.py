"""The C source of an integer program: one function per stage, and the order in which they run.

Between stages all values are int32_t; what is kept from bin to bin has the smallest type that holds
its range.
"""

import re
from collections.abc import Sequence

from spikereach.export import bounds
from spikereach.export.c.layers import part
from spikereach.export.c.packing import GROUP, WIDEST, fields, words
from spikereach.export.c.parts import Input, Member, Numbers, Part, count_type, render
from spikereach.export.errors import ExportError
from spikereach.export.program import Layer, Program
from spikereach.models import stages
from spikereach.models.decoder import STEP_S

NAMES = ("decoder.h", "decoder.c", "weights.h", "weights.c")
MOST_CHANNELS = 2**16 - 1
"""Whose numbers, and how many they are, fit into 16 bits."""
TAKEN = re.compile(
    r"x\d*|y|state|network|keypoints|decode|next_bin|word|weight|add_row|add_rows|add_spikes"
    r"|keep_spikes|clear|clip|stored|main"
    r"|auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if"
    r"|inline|int|long|register|restrict|return|short|signed|sizeof|static|struct|switch|typedef"
    r"|union|unsigned|void|volatile|while"
    r"|abs|ceil|cos|exit|exp|floor|free|log|pow|round|sin|sqrt|tan"
    r"|decoder_\w*|DECODER_\w*|u?int\d*_t"
    r"|\w*_(weight|bias|input|recurrent|mem|syn|add|ahead)"
)
"""Names that a layer's function cannot have: those of the templates, of C, and of the tables and
helpers of another layer."""


def files(program: Program, origin: Sequence[str]) -> dict[str, str]:
    """Content of :data:`NAMES`.

    Args:
        program: of a decoder.
        origin: lines of the comment at the top of decoder.h.
    Raises:
        ExportError: 32-bit accumulators do not suffice, or the program has no form in C.
    """
    bounds.check(program)
    if program.channels > MOST_CHANNELS:
        raise ExportError(
            f"{program.channels} channels: lists of spikes in C have numbers up to "
            f"{MOST_CHANNELS - 1}; give the decoder fewer channels"
        )
    width = 1 + sum(program.weights)
    if width > WIDEST:
        raise ExportError(
            f"weights of {width} bits: C unpacks at most {WIDEST}; compress the decoder to fewer "
            "weight_bits"
        )
    history = max(_first_kernels(program.layers), default=1)
    limits = {bound.layer: bound for bound in bounds.bounds(program)}
    numbers = Numbers(width, program.weights[1], history, limits)
    spike_bytes = -(-program.channels // 8)
    walk = _Walk(numbers)
    walk.members.append(Member("uint8_t", "spikes", (history, spike_bytes), "of the latest bins"))
    if history > 1:
        walk.members.append(Member("uint16_t", "newest", (), "of these bins"))
    decode = walk.whole(program)
    settings = {
        "program": program,
        "origin": [_plain(line) for line in origin],
        "numbers": numbers,
        "spike_bytes": spike_bytes,
        "step_ms": round(1000 * STEP_S),
        "walk": walk,
        "functions": "\n".join(walk.functions),
        "decode": decode,
        "group": GROUP,
        "words": words(width),
        "fields": fields(width),
        "mask": (1 << width) - 1,
        "sign": 1 << width - 1,
    }
    return {name: render(name, **settings) for name in NAMES}


def _plain(line: str) -> str:
    """What stays within a comment, whatever a checkpoint calls its session."""
    return "".join(each if each.isprintable() else " " for each in line).replace("*/", "* /")


class _Walk:
    """Goes through the stages and collects what they are in C."""

    def __init__(self, numbers: Numbers):
        self.numbers = numbers
        self.functions, self.tables, self.members, self.init = [], [], [], []
        self.names: set[str] = set()

    def whole(self, program: Program) -> list[str]:
        """Lines that decode a bin."""
        last = program.layers[-1].stage
        held = isinstance(last, stages.Keypoints)
        layers = program.layers[:-1] if held else program.layers
        spikes = Input(program.channels, 0, 2, first=0)
        output, inputs = self.chain("network", layers, spikes)
        if output.size != 2:
            raise ExportError(f"the last stage gives {output.size} values: a velocity has two")
        if not held and inputs > 1:
            raise ExportError("there is no velocity at some steps: end the stages with Keypoints")
        if not held:
            return ["network(state, velocity);"]
        if inputs != last.period or inputs == 1:
            raise ExportError(
                f"keypoints of {last.period} steps come every {inputs} steps: make them equal, and "
                "more than one"
            )
        self.members += [
            Member("int32_t", "keypoint_last", (2,)),
            Member("int32_t", "keypoint_new", (2,)),
            Member(count_type(last.period), "keypoint_step", (), "bins since the new one"),
            Member("uint8_t", "keypoint_number", (), "of keypoints so far, at most two"),
        ]
        self.function("keypoints.c", period=last.period)
        return [
            "int32_t keypoint[2];",
            "const int ready = network(state, keypoint);",
            "",
            "keypoints(state, ready, keypoint, velocity);",
        ]

    def chain(self, name: str, layers: Sequence[Layer], x: Input) -> tuple[Input, int]:
        """A function that runs stages one after the other.

        Args:
            name: of the function.
            layers: of a program.
            x: what enters the first one.
        Returns:
            what the last one gives, and inputs per output.
        """
        entering, parts, inputs = [x], [], 1
        for layer in layers:
            made = self.part(layer, entering[-1], inputs)
            parts.append(made)
            entering.append(made.output)
            inputs *= made.inputs
        lines = []
        for number, made in enumerate(parts):
            source = f"x{number}" if number else "x"
            target = "y" if number == len(parts) - 1 else f"x{number + 1}"
            call = made.call(entering[number], source, target)
            if made.inputs == 1:
                lines.append(f"{call};")
            else:
                later = [each.ahead for each in parts[number + 1 :] if each.ahead]
                lines += [f"if (!{call}) {{", *(f"    {ahead}(state);" for ahead in later)]
                lines += ["    return 0;", "}"]
        between = [f"int32_t x{n}[{entering[n].size}];" for n in range(1, len(parts))]
        if between:
            lines = [*between, "", *lines]
        self.function("chain.c", name=name, spikes=x.spikes, lines=lines, returns=inputs > 1)
        return entering[-1], inputs

    def part(self, layer: Layer, x: Input, period: int) -> Part:
        """A stage of a chain, ``period`` steps of which are one of its."""
        stage = layer.stage
        if isinstance(stage, stages.Parallel):
            return self.parallel(layer, x)
        name = self.name(getattr(stage, "name", type(stage).__name__.lower()))
        made = part(layer, x, name, self.numbers, period)
        self.functions.append(made.function)
        self.tables += made.tables
        self.members += made.members
        self.init += made.init
        return made

    def parallel(self, layer: Layer, x: Input) -> Part:
        """A function that runs branches, each on its part of the input."""
        stage, name = layer.stage, self.name("areas")
        calls, ends, inputs = [], [], []
        first = written = 0
        for number, (size, branch) in enumerate(
            zip(stage.channels, stage.branches, strict=True), start=1
        ):
            area = f"{name}_{number}"
            begin = None if x.first is None else x.first + first
            output, needed = self.chain(area, branch, x._replace(size=size, first=begin))
            given = [] if x.spikes else [_at("x", first)]
            calls.append(f"{area}({', '.join(['state', *given, _at('y', written)])})")
            ends.append(output.end)
            inputs.append(needed)
            first, written = first + size, written + output.size
        if len(set(inputs)) != 1:
            raise ExportError(f"branches give an output every {inputs} steps: make them equal")
        self.function("parallel.c", name=name, spikes=x.spikes, calls=calls, returns=inputs[0] > 1)
        output = Input(written, layer.output_bits, max(ends))
        return Part(name, output, inputs=inputs[0], stateful=True)

    def function(self, template: str, **settings) -> None:
        self.functions.append(render(template, **settings))

    def name(self, name: str) -> str:
        """As C has it.

        Raises:
            ExportError: another stage has it.
        """
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        if TAKEN.fullmatch(plain) or not plain[:1].isalpha():
            plain = f"layer_{plain}"
        if plain in self.names:
            raise ExportError(f"two stages are called {name}: give each a name of its own")
        self.names.add(plain)
        return plain


def _at(array: str, first: int) -> str:
    """An array from some value on, as C."""
    return f"{array} + {first}" if first else array


def _first_kernels(layers: Sequence[Layer]) -> list[int]:
    """Kernels of the convolutions that read the decoder's input."""
    stage = layers[0].stage
    if isinstance(stage, stages.Parallel):
        return [kernel for branch in stage.branches for kernel in _first_kernels(branch)]
    return [stage.weight.shape[2]] if isinstance(stage, stages.Convolution) else []
