"""The command between NWB and session files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikereach.cli.inputs import areas_of
from spikereach.cli.options import Areas, Configs, Monkey

if TYPE_CHECKING:
    from datetime import datetime


def convert(
    file: Annotated[
        Path, typer.Argument(metavar="IN", help="NWB file (.nwb) or session file (.mat).")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The other kind, to write: .mat or .nwb.")
    ],
    monkey: Monkey = None,
    areas: Areas = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the recording began, such as 2016-06-22 or 2016-06-22T10:30:00-08:00, for "
            "an NWB file. Default: the day in the name of IN.",
        ),
    ] = None,
    config: Configs = None,
) -> None:
    """Make a session file of an NWB file, or the other way round.

    Both give the same binned session. A run reads NWB files by itself (docs/nwb.md).

    \b
    Examples:
      spikereach convert mine.nwb mine.mat
      spikereach convert indy_20160622_01.mat indy_20160622_01.nwb
    """
    from spikereach.data.errors import SessionError
    from spikereach.data.nwb.reading import to_session_file
    from spikereach.data.nwb.writing import to_nwb
    from spikereach.data.recordings import described
    from spikereach.kinds import Kind, check_absent, mistaken, recording_kind

    nwb = (kind := recording_kind(file)) is Kind.NWB
    if problem := mistaken(file, kind):
        raise SessionError(f"{file}: {problem}")
    if out.suffix != (wanted := ".mat" if nwb else ".nwb"):
        what = "a session file" if nwb else "an NWB file"
        raise SessionError(f"{out}: {file} becomes {what}: give a name that ends in {wanted}")
    check_absent(out)
    session, options = described(file, monkey=monkey, areas=areas_of(areas), config=config or ())
    if nwb:
        to_session_file(file, session.areas, options, out)
    else:
        to_nwb(file, session, _start(start, session.name), out)
    typer.echo(f"wrote {out}")


def _start(text: str | None, name: str) -> datetime:
    """When a recording began; without a time zone, by UTC."""
    from datetime import UTC, datetime

    from spikereach.data.errors import SessionError
    from spikereach.data.nwb.writing import recorded_on

    if text is None:
        found = recorded_on(name)
        if found is None:
            raise SessionError(
                f"{name}: the name has no day, and NWB needs to know when the recording began: "
                "give --start, such as --start 2016-06-22"
            )
        return found
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SessionError(f"--start {text!r}: expected a day or time like 2016-06-22") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
