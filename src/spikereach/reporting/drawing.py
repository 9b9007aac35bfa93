"""What all figures share: sizes, style, files, legends."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from spikereach import files
from spikereach.reporting.collect import ResultError
from spikereach.reporting.colours import GREY
from spikereach.reporting.render import write_text

COLUMN, DOUBLE = 3.5, 7.2
"""Widths in inches of one and of two columns of a paper."""


@dataclass(frozen=True)
class Plot:
    """A drawn figure and the data in it."""

    name: str
    figure: Figure
    data: pd.DataFrame


def write(plot: Plot, folder: str | Path) -> None:
    """Write ``folder/name.pdf``, ``.png`` and ``.csv``, each replaced in one step."""
    folder = Path(folder)
    with style():  # one layout for both files
        plot.figure.draw_without_rendering()
        plot.figure.set_layout_engine("none")
    # without dates, equal data give equal bytes
    for suffix, metadata in ((".pdf", {"CreationDate": None}), (".png", {"Software": None})):
        image = io.BytesIO()
        with style():
            plot.figure.savefig(image, format=suffix[1:], metadata=metadata)
        files.replace(folder / f"{plot.name}{suffix}", image.getbuffer())
    write_text(folder / f"{plot.name}.csv", plot.data.to_csv(index=False, lineterminator="\n"))


@contextmanager
def style():
    style = resources.files(__package__).joinpath("style.mplstyle")
    with resources.as_file(style) as path, matplotlib.style.context(str(path), after_reset=True):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, without pyplot and its global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def legend_above(figure: Figure, handles: list, labels: list[str], width: float) -> None:
    # as many entries per row as their text leaves room for, at about 0.045 in per character
    entry = 0.36 + 0.045 * max(map(len, labels))
    fitting = min(len(labels), max(1, int(width / entry)))
    rows = math.ceil(len(labels) / fitting)
    columns = math.ceil(len(labels) / rows)
    # matplotlib fills columns, people read rows
    order = [n for column in range(columns) for n in range(column, len(labels), columns)]
    figure.legend(
        [handles[n] for n in order],
        [labels[n] for n in order],
        loc="outside upper center",
        ncols=columns,
    )


def diamond(shade: str) -> Line2D:
    return Line2D(
        [], [], color=shade, marker="D", markersize=3.5, markerfacecolor="white",
        markeredgewidth=0.6, linestyle="none",
    )  # fmt: skip


def note(axes: Axes, frame: pd.DataFrame) -> None:
    """Says on the figure itself when the data are not real."""
    if source_of(frame) == "synthetic":
        axes.set_title("synthetic data", loc="right", color=GREY, fontsize=6, pad=2)


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Places of the points that no other one surpasses in score at no larger cost.

    By cost, the smallest first; of equal points the first. Points without a cost are left out.
    """
    known = [n for n, cost in enumerate(costs) if not math.isnan(cost)]
    front: list[int] = []
    for n in sorted(known, key=lambda n: (costs[n], -scores[n], n)):
        if not front or scores[n] > scores[front[-1]]:
            front.append(n)
    return front


def source_of(frame: pd.DataFrame) -> str:
    (source,) = frame["source"].unique()
    return source


def check_present(frame: pd.DataFrame, systems: Mapping) -> None:
    for name in systems:
        if name not in set(frame["system"]):
            raise ResultError(f"no results of the system {name!r} to draw")
