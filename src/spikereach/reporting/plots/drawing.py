"""What all figures share: sizes, style, files, legends."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources

import matplotlib.style
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from spikereach.data.sources import Source
from spikereach.reporting.plots.colours import GREY

COLUMN, DOUBLE = 3.5, 7.2
"""Widths in inches of one and of two columns of a paper."""

DASHED = {"color": GREY, "linewidth": 0.8, "linestyle": "--"}
"""A Pareto front, which is a stair."""

SHAPES = ("D", "o", "s", "^")
"""Of marks beside ours, in turn."""


@dataclass(frozen=True)
class Plot:
    """A drawn figure and the data in it."""

    figure: Figure
    data: pd.DataFrame

    def files(self) -> dict[str, bytes]:
        """Suffix -> content: PDF, PNG and the plotted data as CSV."""
        found = {}
        with style():
            self.figure.draw_without_rendering()
            self.figure.set_layout_engine("none")  # one layout for both files
            # without dates, equal data give equal bytes
            for suffix, date in ((".pdf", "CreationDate"), (".png", "Software")):
                image = io.BytesIO()
                self.figure.savefig(image, format=suffix[1:], metadata={date: None})
                found[suffix] = image.getvalue()
        return found | {".csv": self.data.to_csv(index=False, lineterminator="\n").encode()}


@contextmanager
def style():
    style = resources.files(__package__).joinpath("style.mplstyle")
    with resources.as_file(style) as path, matplotlib.style.context(str(path), after_reset=True):
        yield


@contextmanager
def drawn(width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches to draw on, without pyplot and its global state."""
    with style():
        yield Figure(figsize=(width, height))


def single(figure: Figure) -> bytes:
    """A PNG of its own, of a command and not of a run: `kinds` knows it by its mark."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=200, metadata={"Software": "spikereach"})
    return image.getvalue()


def legend_above(figure: Figure, entries: Mapping[str, Artist]) -> None:
    """A legend of these labels and handles, in rows."""
    # as many entries per row as their text leaves room for, at about 0.045 in per character
    entry = 0.36 + 0.045 * max(map(len, entries))
    fitting = min(len(entries), max(1, int(figure.get_figwidth() / entry)))
    rows = math.ceil(len(entries) / fitting)
    columns = math.ceil(len(entries) / rows)
    # matplotlib fills columns, people read rows
    order = [label for column in range(columns) for label in list(entries)[column::columns]]
    handles = [entries[label] for label in order]
    figure.legend(handles, order, loc="outside upper center", ncols=columns)


def dot(shade: str, size: float | None = None, marker: str = "o", **look) -> Line2D:
    """A mark in a legend."""
    look = {"linestyle": "none"} | look
    return Line2D([], [], color=shade, marker=marker, markersize=size, **look)


def mark(shade: str, marker: str = SHAPES[0]) -> Line2D:
    """One of :func:`marks` in a legend."""
    return dot(shade, 3.5, marker, markerfacecolor="white", markeredgewidth=0.6)


def marks(
    axes: Axes, x, y, shade, *, size: float, linewidths: float = 0.6, marker: str = SHAPES[0]
) -> None:
    """Values beside ours: open, diamonds where published."""
    look = {"facecolors": "white", "edgecolors": shade, "linewidths": linewidths}
    axes.scatter(x, y, s=size, marker=marker, zorder=4, **look)


def logarithmic(axes: Axes, label: str) -> None:
    """A logarithmic axis of x with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.grid()


def by_session(axes: Axes, names: Sequence[str]) -> None:
    """R2 above the names of sessions, which stand over two lines, so that they do not touch."""
    axes.set_xticks(range(len(names)), [name.replace("_", "\n", 1) for name in names])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("Test $R^2$")
    axes.grid(axis="y")


def note(axes: Axes, source: type[Source]) -> None:
    """Says on the figure itself when the data are not real."""
    if not source.real:
        axes.set_title("synthetic data", loc="right", color=GREY, fontsize=6, pad=2)
