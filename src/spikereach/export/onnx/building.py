"""A graph of ONNX nodes under construction."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spikereach import __version__
from spikereach.export.errors import ExportError
from spikereach.export.graphs import package
from spikereach.ops.common.fixed_point import Format, bounds

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR_VERSION = 13, 7
"""Of 2020, and pinned: the first operators that take axes and sizes as inputs, as later ones do.
Every runtime and chip compiler since then reads it, and nothing here needs a newer one."""


class Signal(NamedTuple):
    """What flows from stage to stage."""

    value: str
    """Name of float32 (size,)."""
    size: int
    ready: str | None = None
    """Name of a Boolean: whether this step has a value at all. None: every step has."""


class State(NamedTuple):
    """What one step hands to the next."""

    shape: tuple[int, ...]
    kind: type
    start: float
    """All values before the first step."""


class Builder:
    """Collects nodes, constants and states.

    Nodes are computed at every step, also where a stage has no input; what must not change then
    are the states alone, which :meth:`update` keeps. Graphs thus have no control flow.
    """

    def __init__(self):
        package("onnx")
        self.helper = package("onnx.helper")
        self.nodes, self.inputs, self.outputs = [], [], []
        self.constants: dict[str, np.ndarray] = {}
        self.states: dict[str, State] = {}
        self.following: dict[str, str] = {}

    def spikes(self, channels: int) -> Signal:
        """The graph's input."""
        self.inputs.append(self._info("spikes", np.float32, (channels,)))
        return Signal("spikes", channels)

    def output(self, value: str, name: str, kind: type, shape: tuple[int, ...]) -> None:
        """Give a value out under a name."""
        self.nodes.append(self.helper.make_node("Identity", [value], [name], name=f"give.{name}"))
        self.outputs.append(self._info(name, kind, shape))

    def state(self, name: str, shape: tuple[int, ...], kind: type = np.float32, start=0) -> str:
        """A state all of whose values begin with ``start``."""
        self.inputs.append(self._info(name, kind, shape))
        self.states[name] = State(shape, kind, start)
        return name

    def update(self, state: str, value: str, ready: str | None) -> str:
        """The state after this step: the value, or as before where the stage has no input."""
        after = value if ready is None else self.op("Where", ready, value, state)
        self.following[state] = after
        return after

    def op(self, kind: str, *inputs, **attributes) -> str:
        """A node of one output; inputs are names, or numbers and arrays, which become constants."""
        name = f"{kind}.{len(self.nodes)}"
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append(self.helper.make_node(kind, names, [name], name=name, **attributes))
        return name

    def split(self, value: str, sizes: tuple[int, ...]) -> list[str]:
        """Consecutive parts of a vector."""
        names = [f"part{number}.{len(self.nodes)}" for number in range(len(sizes))]
        inputs = [value, self.constant(sizes)]
        self.nodes.append(self.helper.make_node("Split", inputs, names, name=names[0], axis=0))
        return names

    def constant(self, value: np.ndarray | float, name: str | None = None) -> str:
        """Integers are int64, all other numbers float32, or float16 where they are so already."""
        value = np.asarray(value)
        if value.dtype not in (np.int64, np.float16):
            value = value.astype(np.float32)
        name = name or f"constant.{len(self.constants)}"
        if name in self.constants:
            raise ExportError(f"two layers have a value {name}: give stages names of their own")
        self.constants[name] = value
        return name

    def weight(self, name: str, value: np.ndarray) -> str:
        """A weight, in the file as it is stored in the decoder, in the graph as float32."""
        stored = self.constant(value, name)
        return stored if value.dtype != np.float16 else self.cast(stored, np.float32)

    def cast(self, value: str, kind: type) -> str:
        """Convert to a type of NumPy's."""
        return self.op("Cast", value, to=self._kind(kind))

    def stored(self, value: str, number_format: Format) -> str:
        """What comes back of a float32 value that was stored in a format."""
        if number_format == "float32":
            return value
        if number_format == "float16":
            return self.cast(self.cast(value, np.float16), np.float32)
        scale, lowest, highest = bounds(*number_format)
        steps = self.op("Round", self.op("Mul", value, scale))  # ties to even
        return self.op("Clip", self.op("Mul", steps, 1 / scale), lowest, highest)

    def model(self, name: str, metadata: Mapping[str, str]) -> "ModelProto":
        """The graph as a checked model; its metadata also say how states begin.

        States come in the same order among inputs and outputs, after what is no state.
        """
        for state, (shape, kind, _) in self.states.items():
            self.output(self.following[state], f"{state}.next", kind, shape)
        from_array = package("onnx.numpy_helper").from_array
        constants = [from_array(value, name) for name, value in self.constants.items()]
        start = json.dumps({name: state.start for name, state in self.states.items()})
        model = self.helper.make_model(
            self.helper.make_graph(self.nodes, name, self.inputs, self.outputs, constants),
            opset_imports=[self.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="spikereach",
            producer_version=__version__,
        )
        self.helper.set_model_props(model, {**metadata, "start": start})
        package("onnx.checker").check_model(model, full_check=True)
        return model

    def _info(self, name: str, kind: type, shape: tuple[int, ...]):
        return self.helper.make_tensor_value_info(name, self._kind(kind), shape)

    def _kind(self, kind: type) -> int:
        return self.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
