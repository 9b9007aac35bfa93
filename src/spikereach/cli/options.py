"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

Configs = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        metavar="YAML",
        help="Configuration; given several times, later files are laid over earlier ones. "
        "Default: config.yaml, which is that of this folder or else the one that came with "
        "spikereach.",
    ),
]
File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Session file (.mat), NWB file (.nwb) or binned session (.h5)."
    ),
]
CheckpointFile = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint.safetensors file.")
]
Monkey = Annotated[
    str | None, typer.Option(help="Monkey of a recording that is not in the catalogue.")
]
Areas = Annotated[
    str | None,
    typer.Option(
        help="Channels per cortex area in file order, such as M1=96,S1=96; areas have any name."
    ),
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PACKAGE.MODULE:CLASS",
        help="Architecture outside spikereach that the checkpoint may import.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of plain text.")]
