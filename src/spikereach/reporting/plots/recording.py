"""A recording at a glance: channels, movement, segments, and what they mean for a decoder."""

import textwrap
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spikereach.data.binning import BinnedSession
from spikereach.data.matfile import STEP_S
from spikereach.data.suspicion import Suspicion
from spikereach.reporting.plots.colours import GREY, TRUE
from spikereach.reporting.plots.drawing import DOUBLE, dot, drawn, legend_above, single

AREAS = ("#0072B2", "#56B4E9", "#005A8C", "#9CC3E0")
"""Blues of cortex areas in turn; what is wrong stands out in other hues."""
KINDS = {
    "silent": (TRUE, "x"),
    "saturated": ("#E69F00", "s"),
    "identical": ("#D55E00", "D"),
    "periodic": ("#CC79A7", "o"),
}
X, Y = "#009E73", "#882255"
COLUMNS = 300
"""Most columns of the picture of rates."""
STRETCH_S = 20.0
"""Of velocity."""
PATH = 5000
"""Most points of the cursor's path in each part."""


def recording(
    session: BinnedSession, suspicions: Sequence[Suspicion], sentences: Sequence[str]
) -> bytes:
    """A PNG. Velocities are in the session's unit of position per second.

    Args:
        session: the recording.
        suspicions: about its channels.
        sentences: what it means for a decoder.
    """
    text = "\n".join(textwrap.fill(each, 128, subsequent_indent="   ") for each in sentences)
    lines = text.count("\n") + 1
    with drawn(DOUBLE, 5.9 + 0.125 * lines) as figure:
        heights = [1.0, 1.35, 1.0, 0.02 + 0.07 * lines]
        grid = figure.add_gridspec(4, 2, width_ratios=[2.6, 1], height_ratios=heights)
        _rates(figure.add_subplot(grid[0, :]), session, suspicions)
        _over_time(figure.add_subplot(grid[1, 0]), session)
        _path(figure.add_subplot(grid[1, 1]), session)
        _velocity(figure.add_subplot(grid[2, 0]), session)
        _segments(figure.add_subplot(grid[2, 1]), session)
        words = figure.add_subplot(grid[3, :])
        words.axis("off")
        words.text(0, 1, text, va="top", transform=words.transAxes, linespacing=1.35)
        _legend(figure, session, suspicions)
        return single(figure)


def _legend(figure: Figure, session: BinnedSession, suspicions: Sequence[Suspicion]) -> None:
    areas = {area: Patch(color=shade) for area, shade in _shades(session).items()}
    kinds = dict.fromkeys(each.kind for each in suspicions)
    marks = {kind: dot(KINDS[kind][0], 4, KINDS[kind][1]) for kind in KINDS if kind in kinds}
    legend_above(figure, areas | marks)


def _shades(session: BinnedSession) -> dict[str, str]:
    return dict(zip(dict.fromkeys(session.areas), cycle(AREAS), strict=False))


def _rates(axes: Axes, session: BinnedSession, suspicions: Sequence[Suspicion]) -> None:
    rates = session.spikes.mean(axis=0) / STEP_S
    shades = _shades(session)
    axes.bar(range(len(rates)), rates, width=0.8, color=[shades[area] for area in session.areas])
    for each in suspicions:
        shade, marker = KINDS[each.kind]
        channels = list(each.channels)
        if each.kind != "silent":
            axes.bar(channels, rates[channels], width=0.8, color=shade)
        axes.plot(
            channels, rates[channels] + 0.04 * rates.max(), marker, color=shade, markersize=3,
            linestyle="none", clip_on=False,
        )  # fmt: skip
    axes.set(xlim=(-1, len(rates)), xlabel="Channel, from 0", ylabel="Spikes (Hz)")
    axes.set_ylim(0, 1.08 * rates.max())
    axes.set_title(f"{session.name} of monkey {session.monkey}", loc="left")


def _over_time(axes: Axes, session: BinnedSession) -> None:
    steps, channels = session.spikes.shape
    width = -(-steps // COLUMNS)
    starts = np.arange(0, steps, width)
    counts = np.add.reduceat(session.spikes, starts, axis=0, dtype=np.int64)
    lengths = np.diff(starts, append=steps)
    rates = counts / lengths[:, None] / STEP_S
    ends = session.start_s + STEP_S * np.append(starts, steps)
    drawn = axes.pcolormesh(
        ends, np.arange(channels + 1) - 0.5, rates.T, cmap="Blues", norm=PowerNorm(0.5, vmin=0),
        rasterized=True,
    )  # fmt: skip
    axes.figure.colorbar(drawn, ax=axes, label="Spikes (Hz)", pad=0.01, aspect=30)
    for name, part in vars(session.split("neurobench")).items():
        start = session.start_s + STEP_S * part.start
        axes.axvline(start, color=TRUE, linewidth=0.6)
        axes.annotate(
            name, (start, 1), xycoords=("data", "axes fraction"), xytext=(2, 2),
            textcoords="offset points",
        )  # fmt: skip
    axes.invert_yaxis()
    axes.set(xlabel="Time on the recording's clock (s)", ylabel="Channel, from 0")


def _path(axes: Axes, session: BinnedSession) -> None:
    split = session.split("neurobench")
    for name, part, shade in (("train", split.train, GREY), ("test", split.test, X)):
        x, y = session.position[part.start : part.stop : -(-len(part) // PATH)].T
        axes.plot(x, y, ".", markersize=0.8, color=shade, label=name)
    axes.set(xlabel="Position x", ylabel="Position y")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, markerscale=6)


def _velocity(axes: Axes, session: BinnedSession) -> None:
    first = session.split("neurobench").test.start
    here = slice(first, first + round(STRETCH_S / STEP_S))
    time = session.time_s[here]
    for name, shade, velocity in zip("xy", (X, Y), session.velocity[here].T, strict=True):
        axes.plot(time, velocity / STEP_S, color=shade, linewidth=0.8, label=name)
    starts = session.start_s + STEP_S * session.segments[:, 0]
    for start in starts[(starts >= time[0]) & (starts <= time[-1])]:
        axes.axvline(start, color=GREY, linewidth=0.5, zorder=0)
    axes.set_xlim(time[0], time[-1])
    axes.set(xlabel="Time (s), from the start of the test part on; lines: segments")
    axes.set_ylabel("Velocity (per s)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _segments(axes: Axes, session: BinnedSession) -> None:
    lengths = np.diff(session.segments, axis=1)[:, 0] * STEP_S
    axes.hist(lengths, bins=30, color=GREY)
    axes.axvline(np.median(lengths), color=TRUE, linewidth=0.8)
    axes.set(xlabel=f"Segment (s); median {np.median(lengths):.2g} s", ylabel="Segments")
