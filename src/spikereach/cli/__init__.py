"""The command line: ``spikereach``. One module per kind of command.

Everything heavy is imported where it is used, so that help appears at once.
"""

import warnings
from typing import Annotated, Any

import typer

from spikereach.cli import decoders, nwb, runs, sessions, weights
from spikereach.cli.budget import budget
from spikereach.cli.loop import closed_loop
from spikereach.surroundings import settle


class _OneLineErrors(typer.core.TyperGroup):
    """Prints this package's warnings, and errors that a user can mend, as one line each; all others
    keep the place in the code."""

    def invoke(self, ctx: Any) -> Any:
        settle()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _one_line_warning(warnings.showwarning)
                return super().invoke(ctx)
        except BrokenPipeError:  # who reads has enough, as in `| head`: typer ends without a word
            raise
        except Exception as error:
            from spikereach.workflow.job import one_line

            if isinstance(error, OSError) and error.filename is None:
                error.filename = "standard output"  # files that are written have a name
            message = one_line(error)
            if message is None:
                raise
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(1) from None


def _one_line_warning(otherwise: Any) -> Any:
    """What shows a warning, in the place of `warnings.showwarning`, which shows all others."""

    def show(message: Warning, category: type[Warning], *place: Any) -> None:
        if category.__module__.partition(".")[0] == "spikereach":
            typer.echo(f"warning: {message}", err=True)
        else:
            otherwise(message, category, *place)

    return show


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Decode reaching movements from spikes: check recordings, run and measure decoders.

    \b
    A first tour:
      spikereach describe RTnet --channels 96
      spikereach check loco_20170210_03.mat
      spikereach bin loco_20170210_03.mat loco.h5
      spikereach convert loco_20170210_03.mat loco_20170210_03.nwb
      spikereach evaluate results/.../checkpoint.safetensors loco.h5
      spikereach stream results/.../checkpoint.safetensors loco.h5
      spikereach decode results/.../checkpoint.safetensors loco.h5 --out velocity.csv
      spikereach export results/.../checkpoint.safetensors decoder --format c
      spikereach compare runs/demo runs/other
      spikereach budget
      spikereach verify runs/demo

    A FILE is a session file (.mat, MATLAB v7.3 as on Zenodo record 583331), an NWB file (.nwb) or
    a binned session (.h5, made by `bin`). No command writes over a file that it reads, or over one
    of another kind.
    Training, tables and figures are Snakemake's: see the README.
    """,
)


def _tell_version(asked: bool) -> None:
    if asked:
        from spikereach import __version__
        from spikereach.provenance import repository_state, short_commit

        commit, changed = repository_state()
        from_commit = f", commit {short_commit(commit, changed)}" if commit else ""
        typer.echo(f"spikereach {__version__}{from_commit}")
        raise typer.Exit


@app.callback()
def _of_all_commands(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_tell_version,
            is_eager=True,
            help="Print version and commit (+: with uncommitted changes), and exit.",
        ),
    ] = False,
) -> None: ...


for name, command in {
    "describe": decoders.describe,
    "check": sessions.check,
    "bin": sessions.bin_file,
    "convert": nwb.convert,
    "decode": decoders.decode,
    "evaluate": decoders.evaluate,
    "stream": decoders.stream,
    "closed-loop": closed_loop,
    "export": decoders.export,
    "import-weights": weights.import_weights,
    "download-weights": weights.download_weights,
    "budget": budget,
    "view": runs.view,
    "compare": runs.compare,
    "verify": runs.verify,
}.items():
    app.command(name)(command)
