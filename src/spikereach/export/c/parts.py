"""What stages are in C: functions, constant tables, and state."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

from spikereach.export.bounds import Bound
from spikereach.export.c.packing import packed, row_bytes

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **settings: Any) -> str:
    """Text of a template in this folder."""
    return TEMPLATES.get_template(f"{template}.jinja").render(settings).strip("\n") + "\n"


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


class Grid(NamedTuple):
    """How a sum is stored."""

    shift: int
    """Bits that rounding takes off; less than zero: bits that are added."""
    lowest: int
    highest: int


class Input(NamedTuple):
    """What enters a stage: values, or spikes of the channels of the decoder from ``first`` on."""

    size: int
    bits: int
    """Fractional bits."""
    end: int
    """Values lie from ``-end`` to ``end - 1``."""
    first: int | None = None

    @property
    def spikes(self) -> bool:
        return self.first is not None


@dataclass(frozen=True)
class Numbers:
    """What all stages of a program share."""

    width: int
    """Bits of a weight."""
    fraction: int
    """Fractional bits of a weight."""
    history: int
    """Bins of spikes that are kept."""
    bounds: dict[str, Bound]

    @property
    def latest(self) -> str:
        """C of the row of the latest bin."""
        return "state->newest" if self.history > 1 else "0"

    def row_bytes(self, count: int) -> int:
        return row_bytes(count, self.width)

    def weights(self, name: str, rows: np.ndarray) -> Table:
        """Packed, from rows (..., N)."""
        told = " x ".join(map(str, rows.shape))
        values = [f"0x{byte:02x}" for byte in packed(rows, self.width)]
        return Table("uint8_t", name, values, told)


@dataclass
class Part:
    """A stage: a function of the state, if it has any, its input, unless that is spikes, and where
    its output goes."""

    name: str
    """Of the function."""
    output: Input
    function: str = ""
    tables: list[Table] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    init: list[str] = field(default_factory=list)
    """Lines of C for what does not begin with zero."""
    inputs: int = 1
    """Per output: where there are more, the function says whether there is an output."""
    ahead: str | None = None
    """Function for bins without input."""
    stateful: bool = False
    """Whether its function takes the state without having members of its own."""

    def call(self, x: Input, source: str, target: str) -> str:
        """The function's call, without semicolon."""
        state = ["state"] * (x.spikes or bool(self.members) or self.stateful)
        return f"{self.name}({', '.join([*state, *([] if x.spikes else [source]), target])})"


def grid(bits: int, stored: tuple[int, int]) -> Grid:
    """Of sums with ``bits`` fractional bits in a format of integer and fractional bits."""
    end = 1 << sum(stored)
    return Grid(bits - stored[1], -end, end - 1)


def integer_type(end: int) -> str:
    """The smallest type that holds ``-end`` to ``end - 1``."""
    return next(f"int{bits}_t" for bits in (8, 16, 32) if end <= 1 << bits - 1)


def count_type(largest: int) -> str:
    """The smallest type that holds zero to ``largest``."""
    return next(f"uint{bits}_t" for bits in (8, 16, 32) if largest < 1 << bits)
