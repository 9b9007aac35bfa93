"""Commands on recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from spikereach.cli.inputs import session_of
from spikereach.cli.options import Areas, Configs, File, Monkey

if TYPE_CHECKING:
    from spikereach.data.binning import BinnedSession
    from spikereach.data.suspicion import Suspicion


def check(
    file: File,
    monkey: Monkey = None,
    areas: Areas = None,
    config: Configs = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Draw it, too, with what it means for a decoder."),
    ] = None,
) -> None:
    """Validate a session and print what is in it.

    Suspicious are channels that fire as other channels do, periodically, or nearly always.
    Channels count from 0.

    \b
    Examples:
      spikereach check indy_20160622_01.mat
      spikereach check mine.mat --monkey chewie --areas M1=174 --figure mine.png
    """
    from spikereach.data.binning import Scheme
    from spikereach.data.matfile import STEP_S
    from spikereach.data.suspicion import suspicions
    from spikereach.evaluation.errors import EvaluationError
    from spikereach.kinds import Kind, check_overwriting

    if figure is not None:
        if figure.suffix != ".png":
            raise EvaluationError(f"{figure}: the figure is written as .png: give such a name")
        check_overwriting(figure, Kind.FIGURE, [file, *(config or [])])
    binned = session_of(file, monkey, areas, config)
    steps, channels = binned.spikes.shape
    counted = [f"{binned.areas.count(area)} {area}" for area in dict.fromkeys(binned.areas)]
    rates = binned.spikes.mean(axis=0) / STEP_S
    low, high = binned.position.min(axis=0), binned.position.max(axis=0)
    split = {scheme: vars(binned.split(scheme)) for scheme in get_args(Scheme)}["neurobench"]
    found = suspicions(binned.spikes)
    silent = [str(each.channels[0]) for each in found if each.kind == "silent"]
    listed = f" ({', '.join(silent)})" if silent else ""
    lines = [
        f"{file}: a valid session",
        f"session    {binned.name} of monkey {binned.monkey}",
        f"channels   {channels} ({' + '.join(counted)}), {len(silent)} silent{listed}",
        *(f"suspicious {each}" for each in found if each.kind != "silent"),
        f"length     {steps:,} steps of 4 ms ({steps * STEP_S:.1f} s)",
        f"spikes     {binned.spikes.sum(dtype=int) / steps:.3f} per step; "
        f"per channel {rates.min():.1f} to {rates.max():.1f} Hz",
        f"position   x {low[0]:.4g} to {high[0]:.4g}, y {low[1]:.4g} to {high[1]:.4g}",
        f"segments   {len(binned.segments)}",
        *(f"{part:10} {len(steps):,} steps" for part, steps in split.items()),
    ]
    typer.echo("\n".join(lines))
    if figure is not None:
        _draw(binned, found, figure)
        typer.echo(f"wrote {figure}")


def _draw(binned: BinnedSession, found: list[Suspicion], path: Path) -> None:
    from spikereach.evaluation.yardstick import linear_r2
    from spikereach.files import replace
    from spikereach.reporting.plots.recording import recording
    from spikereach.reporting.prospects import prospects

    channels = range(len(binned.areas))
    wrong = {c for each in found if each.kind != "silent" for c in each.channels}
    good = [channel for channel in channels if channel not in wrong]
    r2 = linear_r2(binned, channels)
    without = linear_r2(binned, good) if wrong and good else None
    replace(path, recording(binned, found, prospects(binned, found, r2, without)))


def bin_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Session file (.mat) or NWB file (.nwb).")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Binned session to write (.h5).")],
    monkey: Monkey = None,
    areas: Areas = None,
    config: Configs = None,
) -> None:
    """Bin a recording in steps of 4 ms.

    \b
    Example: spikereach bin indy_20160622_01.mat indy.h5
    """
    from spikereach.data.binning import named
    from spikereach.data.errors import SessionError
    from spikereach.kinds import Kind, OverwriteError, check_overwriting, kind_of

    if kind_of(file) is Kind.BINNED:
        raise SessionError(f"{file}: is a binned session already: use it as it is")
    check_overwriting(out, Kind.BINNED, [file, *(config or [])])
    binned = session_of(file, monkey, areas, config)
    if kind_of(out) is Kind.BINNED and (earlier := named(out)) != binned.name:
        raise OverwriteError(
            f"{out}: is the binned session {earlier}, not {binned.name}: give another name"
        )
    binned.save(out)
    typer.echo(f"wrote {out}")
