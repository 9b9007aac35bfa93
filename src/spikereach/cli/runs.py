"""Commands on runs and their results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikereach.cli.inputs import config_of
from spikereach.cli.options import Configs, Json, Trust
from spikereach.cli.outputs import tell


def view(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...",
            help="Folders results/evaluate/SYSTEM/SESSION/seedN of one session: of several "
            "systems, seeds or runs.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output: one HTML file.")],
    start: Annotated[
        float, typer.Option(min=0, help="Start in seconds after the start of the test part.")
    ] = 0.0,
    seconds: Annotated[float, typer.Option(min=0, help="Length of the stretch shown.")] = 60.0,
    loop: Annotated[
        int,
        typer.Option(
            min=0,
            max=1_000,
            metavar="TARGETS",
            help="Also play the loop on a synthetic session: so many targets with each decoder.",
        ),
    ] = 0,
    trust: Trust = None,
    config: Configs = None,
) -> None:
    """A page to explore decoders: spikes, velocities and cursor paths, systems side by side.

    The page is one file that any browser opens; it needs no server and no network. With --loop, a
    simulated user controls a cursor through each decoder (docs/closed-loop.md).

    \b
    Examples:
      spikereach view results/evaluate/*/indy_20160622_01/seed0 --out page.html
      spikereach view results/evaluate/*/synthetic_loco_1/seed0 --loop 6 --out page.html
    """
    from functools import partial

    from spikereach.kinds import Kind, check_overwriting
    from spikereach.reporting.view import write

    check_overwriting(out, Kind.RESULTS_PAGE, config or [])
    play = None
    if loop:
        from spikereach.closed_loop.result import play as play_result

        seed = config_of(config).synthetic.seed
        play = partial(play_result, targets=loop, synthetic_seed=seed, trust=trust or ())
    shown = write(results, out, start_s=start, seconds=seconds, play=play)
    typer.echo(f"wrote {shown} to {out}")


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Run folder, or a folder of results in one.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another of the same kind.")],
    as_json: Json = False,
) -> None:
    """Every metric of two runs, or of two results, side by side, with the difference B - A.

    A folder of results is results/evaluate/SYSTEM/SESSION/seedN, or one above it: several seeds
    have a mean and a standard deviation. What only one of two runs has is named, and so is what
    they were made with where it differs.

    \b
    Examples:
      spikereach compare runs/before runs/after
      spikereach compare results/evaluate/{RTnet,sRTnet}/indy_20160622_01
      spikereach compare results/evaluate/RTnet/indy_20160622_01/seed{0,1}
    """
    from spikereach.reporting.compare import compare
    from spikereach.workflow.manifest import conditions

    found = compare(first, second, conditions)
    tell(found.record(), as_json, found.text)


def verify(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run folder, one table, figure or result, or an exported decoder."
        ),
    ] = Path(),
) -> None:
    """Recompute the checksums of a run, from its tables down to the recordings.

    Names the files that are not what they were made as, with what rests on them, and prints the
    lines that mend them; then the exit code is 1, and so it is where nothing was made.

    \b
    Examples:
      spikereach verify runs/demo
      spikereach verify paper_tables/coopt.csv
      spikereach verify decoder
    """
    from spikereach.workflow.verify import verify

    report = verify(target)
    for warning in report.warnings:
        typer.echo(f"warning: {warning}")
    for each in report.breaks:
        typer.echo("\n".join(each.lines()))
    if report.commands:
        typer.echo("\nThese lines do all of it, deletions too, when they are pasted here:\n")
        typer.echo("\n".join(report.commands))
    if report.breaks:
        raise typer.Exit(1)
    recordings = [
        f"{number} recording{'s' * (number != 1)} ({name})"
        for name, number in report.recordings.items()
    ]
    down = ", down to " + " and ".join(recordings) if recordings else ""
    typer.echo(
        f"{target}: {report.files:,} files of {report.jobs:,} job{'s' * (report.jobs != 1)} are "
        f"what they were made as{down}"
    )
