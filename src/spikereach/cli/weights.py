"""Commands on published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikereach.cli.inputs import config_of, system_of
from spikereach.cli.options import Configs


def import_weights(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="A system with published weights.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The published file, .pth or .pt.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Checkpoint to write (.safetensors).")],
    config: Configs = None,
) -> None:
    """Turn published weights into a checkpoint.

    \b
    Example: spikereach import-weights SNN2 model.pt SNN2.safetensors
    """
    from spikereach.kinds import Kind, OverwriteError, check_overwriting, kind_of
    from spikereach.models.checkpoint import origin, save
    from spikereach.published.importers import published_checkpoint

    check_overwriting(out, Kind.CHECKPOINT, [file, *(config or [])])
    checkpoint = published_checkpoint(system, system_of(system, config), file)
    if kind_of(out) is Kind.CHECKPOINT and origin(out)["provenance"] != checkpoint.provenance:
        raise OverwriteError(
            f"{out}: is a checkpoint that was not made from {file}: give another name"
        )
    save(checkpoint, out)
    typer.echo(f"wrote {system} for {checkpoint.dataset}, seed {checkpoint.seed}, to {out}")


def download_weights(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files shall lie.")],
    config: Configs = None,
) -> None:
    """Download all published weights (54 files, 2.4 MB) from the papers' repositories.

    Files that are there already are kept; each is verified by its SHA-256.

    \b
    Example: spikereach download-weights weights
    """
    from spikereach.progress import progress_bar
    from spikereach.published.weights import fetch, sources

    settings = config_of(config).download
    for source in progress_bar(sources(), unit="file"):
        fetch(source, folder / source.file, folder=None, settings=settings, progress=False)
    typer.echo(f"{len(sources())} files of published weights are in {folder}")
