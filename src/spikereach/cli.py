"""The command line: ``spikereach``."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from spikereach.surroundings import settle

# Everything heavy is imported where it is used, so that help appears at once.
if TYPE_CHECKING:
    from spikereach.config import Config, System
    from spikereach.data.binning import BinnedSession
    from spikereach.models.checkpoint import Checkpoint


class _OneLineErrors(typer.core.TyperGroup):
    """Prints errors that a user can mend as one line; all others keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        settle()
        try:
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


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Decode reaching movements from spikes: check recordings, run and measure decoders.

    \b
    A first tour:
      spikereach describe RTnet --channels 96
      spikereach check loco_20170210_03.mat
      spikereach bin loco_20170210_03.mat loco.h5
      spikereach evaluate results/.../checkpoint.safetensors loco.h5
      spikereach stream results/.../checkpoint.safetensors loco.h5
      spikereach decode results/.../checkpoint.safetensors loco.h5 --out velocity.csv
      spikereach verify runs/demo

    A FILE is a session file (.mat, MATLAB v7.3 as on Zenodo record 583331) or a binned session
    (.h5, made by `bin`). No command writes over a file that it reads, or over one of another kind.
    Training, tables and figures are Snakemake's: see the README.
    """,
)

Configs = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        metavar="YAML",
        help="Configuration; given several times, later files are laid over earlier ones. "
        "Default: config.yaml in this folder.",
    ),
]
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Session file (.mat) or binned session (.h5).")
]
CheckpointFile = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint.safetensors file.")
]
Monkey = Annotated[
    str | None, typer.Option(help="Monkey of a .mat file that is not in the catalogue.")
]
Areas = Annotated[
    str | None,
    typer.Option(help="Channels per cortex area in file order, such as M1=96,S1=96."),
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PACKAGE.MODULE:CLASS",
        help="Architecture outside spikereach that the checkpoint may import.",
    ),
]
Json = Annotated[bool, typer.Option("--json/--text", help="JSON or plain text.")]


# What is found, as plain text.
_TIMING = """\
latency            {latency_ms:g} ms
execution rate     {execution_rate_hz:g} Hz
real time          {verdict} (at most 100 ms, at least 10 Hz)
"""
_DESCRIPTION = """\
{system} with {channels} channels
parameters         {parameters:,}
NeuroBench bytes   {footprint:,}
deployment bytes   {deployment[total_bytes]:,}{parts}
dense operations   {dense:,.2f} per step of 4 ms
receptive field    {field}
look-ahead         {lookahead} steps
"""
_METRICS = """\
{system} on {session}, {test_steps:,} test steps
R2                 {r2:.4f} (x {r2_x:.4f}, y {r2_y:.4f})
footprint          {footprint:,} bytes, {deployment_bytes:,} where deployed
sparsity           connections {connection_sparsity:.4f}, activations {activation_sparsity:.4f}
per step           {macs:,.1f} MACs, {acs:,.1f} ACs, {dense:,.1f} dense
NeuroBench agrees  over the first {verified_steps:,} steps
"""
_STREAM = """\
look-ahead         {lookahead_measured} steps measured, {lookahead_declared} declared
stream and batch   differ by at most {stream_max_error:.2g}
buffers            {stream_buffer_bytes:,} bytes
compute per bin    {median_us:.0f} us median, {p99_us:.0f} us 99th percentile
"""


@app.command()
def describe(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="A system of the configuration.")],
    channels: Annotated[int, typer.Option(min=1, help="Input channels, such as 96.")],
    as_json: Json = False,
    config: Configs = None,
) -> None:
    """Size, cost and timing of a system.

    \b
    Example: spikereach describe sRTnet --channels 96
    """
    from spikereach.evaluation.describe import describe

    found = {"system": system} | describe(_system(system, config), channels)
    part = "\n  {kind:8} {layer:22} {values:>9,} values {bytes:>9,} bytes".format_map
    parts, steps = map(part, found["deployment"]["parts"]), found["receptive_field"]
    field = f"{steps} steps" if steps else "unbounded"
    _print(found, as_json, _DESCRIPTION + _TIMING, parts="".join(parts), field=field)


@app.command()
def check(file: File, monkey: Monkey = None, areas: Areas = None, config: Configs = None) -> None:
    """Validate a session and print what is in it.

    \b
    Examples:
      spikereach check indy_20160622_01.mat
      spikereach check mine.mat --monkey chewie --areas M1=174
    """
    from spikereach.data.binning import Scheme
    from spikereach.data.matfile import STEP_S

    binned = _session(file, monkey, areas, config)
    steps, channels = binned.spikes.shape
    counted = [f"{binned.areas.count(area)} {area}" for area in dict.fromkeys(binned.areas)]
    rates = binned.spikes.mean(axis=0) / STEP_S
    low, high = binned.position.min(axis=0), binned.position.max(axis=0)
    split = {scheme: vars(binned.split(scheme)) for scheme in get_args(Scheme)}["neurobench"]
    lines = [
        f"{file}: a valid session",
        f"session    {binned.name} of monkey {binned.monkey}",
        f"channels   {channels} ({' + '.join(counted)}), {int((rates == 0).sum())} silent",
        f"length     {steps:,} steps of 4 ms ({steps * STEP_S:.1f} s)",
        f"spikes     {binned.spikes.sum(dtype=int) / steps:.3f} per step; "
        f"per channel {rates.min():.1f} to {rates.max():.1f} Hz",
        f"position   x {low[0]:.4g} to {high[0]:.4g}, y {low[1]:.4g} to {high[1]:.4g}",
        f"segments   {len(binned.segments)}",
        *(f"{part:10} {len(steps):,} steps" for part, steps in split.items()),
    ]
    typer.echo("\n".join(lines))


@app.command(name="bin")
def bin_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Session file (.mat).")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Binned session to write (.h5).")],
    monkey: Monkey = None,
    areas: Areas = None,
    config: Configs = None,
) -> None:
    """Bin a session file in steps of 4 ms.

    \b
    Example: spikereach bin indy_20160622_01.mat indy.h5
    """
    from spikereach.data.binning import named
    from spikereach.data.errors import SessionError
    from spikereach.kinds import Kind, OverwriteError, check_overwriting, kind_of

    if kind_of(file) is Kind.BINNED:
        raise SessionError(f"{file}: is a binned session already: use it as it is")
    check_overwriting(out, Kind.BINNED, [file, *(config or [])])
    binned = _session(file, monkey, areas, config)
    if kind_of(out) is Kind.BINNED and (earlier := named(out)) != binned.name:
        raise OverwriteError(
            f"{out}: is the binned session {earlier}, not {binned.name}: give another name"
        )
    binned.save(out)
    typer.echo(f"wrote {out}")


@app.command()
def decode(
    checkpoint: CheckpointFile,
    file: File,
    out: Annotated[Path, typer.Option(help="Output: .csv or .h5.")],
    monkey: Monkey = None,
    areas: Areas = None,
    trust: Trust = None,
    config: Configs = None,
) -> None:
    """Decode the velocities of a whole recording.

    Velocities are in the recording's unit of position per step of 4 ms; step 0 is its first.

    \b
    Example: spikereach decode checkpoint.safetensors mine.mat --out velocity.csv
    """
    from spikereach.evaluation.errors import EvaluationError
    from spikereach.kinds import Kind, check_overwriting

    if out.suffix not in (".csv", ".h5"):
        raise EvaluationError(f"{out}: velocities are written as .csv or .h5: choose one of them")
    check_overwriting(out, Kind.VELOCITIES, [checkpoint, file, *(config or [])])
    loaded, binned = _both(checkpoint, trust, file, monkey, areas, config)

    import h5py
    import numpy as np
    import torch
    from pandas import DataFrame

    from spikereach.data.matfile import STEP_S
    from spikereach.evaluation.evaluate import input_spikes
    from spikereach.evaluation.metrics import PIECE
    from spikereach.files import replace
    from spikereach.models.passes import as_input, in_pieces

    inputs = as_input(loaded.decoder, input_spikes(loaded, binned))
    with torch.inference_mode():
        pieces = in_pieces(loaded.decoder, inputs, PIECE)
        velocity = np.concatenate([piece[:, 0].float().cpu().numpy() for piece in pieces])
    image = io.BytesIO()
    if out.suffix == ".h5":
        with h5py.File(image, "w") as file:
            file.create_dataset("velocity", data=velocity, compression="gzip")
            file.attrs["dt_s"] = STEP_S
    else:
        steps, (x, y) = range(len(velocity)), velocity.T
        time = [f"{step * STEP_S:.3f}" for step in steps]
        table = DataFrame({"step": steps, "time_s": time, "velocity_x": x, "velocity_y": y})
        table.to_csv(image, index=False, lineterminator="\n", na_rep="nan")
    replace(out, image.getbuffer())
    typer.echo(f"wrote {len(velocity):,} velocities to {out}")


@app.command()
def evaluate(
    checkpoint: CheckpointFile,
    file: File,
    as_json: Json = True,
    neurobench_steps: Annotated[
        int,
        typer.Option(min=1, help="Test steps over which NeuroBench itself must agree; it is slow."),
    ] = 2000,
    monkey: Monkey = None,
    areas: Areas = None,
    trust: Trust = None,
    config: Configs = None,
) -> None:
    """NeuroBench's metrics of a decoder on the test part of a session.

    \b
    Example: spikereach evaluate checkpoint.safetensors indy.h5
    """
    from spikereach.evaluation.evaluate import measure

    loaded, binned = _both(checkpoint, trust, file, monkey, areas, config)
    found = measure(loaded, binned, neurobench_steps).metrics
    _print(found.model_dump(mode="json"), as_json, _METRICS)


@app.command()
def stream(
    checkpoint: CheckpointFile,
    file: File,
    steps: Annotated[int, typer.Option(min=1, help="Test bins streamed one by one.")] = 2000,
    as_json: Json = False,
    monkey: Monkey = None,
    areas: Areas = None,
    trust: Trust = None,
    config: Configs = None,
) -> None:
    """Run a decoder bin by bin, as on a patient, and judge whether it is real-time capable.

    \b
    Example: spikereach stream checkpoint.safetensors indy.h5 --steps 1000
    """
    from spikereach.evaluation.evaluate import stream

    loaded, binned = _both(checkpoint, trust, file, monkey, areas, config)
    found = stream(loaded, binned, steps)
    _print(found.model_dump(mode="json"), as_json, _STREAM + _TIMING)


@app.command()
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
    checkpoint = published_checkpoint(system, _system(system, config), file)
    if kind_of(out) is Kind.CHECKPOINT and origin(out)["provenance"] != checkpoint.provenance:
        raise OverwriteError(
            f"{out}: is a checkpoint that was not made from {file}: give another name"
        )
    save(checkpoint, out)
    typer.echo(f"wrote {system} for {checkpoint.dataset}, seed {checkpoint.seed}, to {out}")


@app.command()
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

    settings = _config(config).download
    for source in progress_bar(sources(), unit="file"):
        fetch(source, folder / source.file, folder=None, settings=settings, progress=False)
    typer.echo(f"{len(sources())} files of published weights are in {folder}")


@app.command()
def view(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...",
            help="Folders results/evaluate/SYSTEM/SESSION/seedN of one session.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output: one HTML file.")],
    start: Annotated[
        float, typer.Option(min=0, help="Start in seconds after the start of the test part.")
    ] = 0.0,
    seconds: Annotated[float, typer.Option(min=0, help="Length of the stretch shown.")] = 60.0,
) -> None:
    """A page to explore decoders: spikes, velocities and cursor paths, systems side by side.

    The page is one file that any browser opens; it needs no server and no network.

    \b
    Example: spikereach view results/evaluate/*/indy_20160622_01/seed0 --out page.html
    """
    from spikereach.kinds import Kind, check_overwriting
    from spikereach.reporting.view import write

    check_overwriting(out, Kind.RESULTS_PAGE)
    typer.echo(f"wrote {write(results, out, start_s=start, seconds=seconds)} to {out}")


@app.command()
def verify(
    target: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder, or one table, figure or result.")
    ] = Path(),
) -> None:
    """Recompute the checksums of a run, from its tables down to the recordings.

    Names the files that are not what they were made as, with what rests on them; then the exit
    code is 1.

    \b
    Examples:
      spikereach verify runs/demo
      spikereach verify paper_tables/coopt.csv
    """
    from spikereach.workflow.verify import verify

    report = verify(target)
    for warning in report.warnings:
        typer.echo(f"warning: {warning}")
    for each in report.breaks:
        typer.echo("\n".join(each.lines()))
    if report.breaks:
        raise typer.Exit(1)
    recordings = [f"{number} recordings ({name})" for name, number in report.recordings.items()]
    down = ", down to " + " and ".join(recordings) if recordings else ""
    typer.echo(
        f"{target}: {report.files:,} files of {report.jobs:,} jobs are what they were made as{down}"
    )


def _print(found: dict[str, Any], as_json: bool, text: str, **more: str) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        verdict = "yes" if found.get("realtime") else "no"
        typer.echo(text.format(**found, **more, verdict=verdict), nl=False)


def _config(paths: list[Path] | None) -> Config:
    """The given configuration, or that of this folder."""
    from spikereach.config import read

    return read(*paths or ["config.yaml"])


def _system(name: str, config: list[Path] | None) -> System:
    from spikereach.config import ConfigError

    systems = _config(config).systems
    if name not in systems:
        raise ConfigError(f"unknown system {name!r}; known: {', '.join(systems)}")
    return systems[name]


def _both(
    path: Path, trust: list[str] | None, file: Path, *session: Any
) -> tuple[Checkpoint, BinnedSession]:
    """A checkpoint and the session that it is for."""
    from spikereach.kinds import Kind, kind_of
    from spikereach.models.checkpoint import CheckpointError, load

    if kind_of(file) is Kind.CHECKPOINT and kind_of(path) is not Kind.CHECKPOINT:
        raise CheckpointError(
            f"{file} is a checkpoint, {path} is none: give the checkpoint first, then the session"
        )
    return load(path, trust=trust or ()), _session(file, *session)


def _session(
    file: Path, monkey: str | None, areas: str | None, config: list[Path] | None
) -> BinnedSession:
    """A binned session, or a session file binned here: known by the options, else by its name.

    Which of them it is, its content says: browsers and wget add to names.
    """
    from spikereach.config import ConfigError
    from spikereach.config.sessions import Session, find
    from spikereach.data.binning import BinnedSession, bin_session
    from spikereach.data.errors import SessionError
    from spikereach.kinds import Kind, kind_of, mistaken

    if kind_of(file) is Kind.BINNED:
        return BinnedSession.load(file)
    if problem := mistaken(file, Kind.SESSION):
        raise SessionError(f"{file}: {problem}")
    known_as = re.fullmatch(r"(.+?)( \(\d+\))?\.mat\b.*", file.name, re.IGNORECASE)
    name = known_as[1] if known_as else file.stem
    if (monkey is None) != (areas is None):
        raise ConfigError("--monkey and --areas describe a session together: give both")
    if monkey is not None:
        return bin_session(file, Session(name, monkey, _areas(areas)))
    catalogue = _config(config).catalogue if config or Path("config.yaml").is_file() else {}
    try:
        known = find(name, catalogue)
    except ConfigError as error:
        raise ConfigError(
            f"{error}; or describe the file by --monkey NAME --areas M1=CHANNELS"
        ) from None
    return bin_session(file, known)


def _areas(text: str) -> dict[str, int]:
    """Channels per area from M1=96,S1=96."""
    from spikereach.config import ConfigError

    parts = [part.strip().partition("=")[::2] for part in text.split(",")]
    areas = {area: int(channels) for area, channels in parts if channels.isdecimal()}
    if len(areas) != len(parts) or not set(areas) <= {"M1", "S1"} or 0 in areas.values():
        raise ConfigError(
            f"--areas {text!r}: expected M1 and S1 with their channels, like M1=96,S1=96"
        )
    return areas
