"""Commands on systems and trained decoders."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Literal

import typer

from spikereach.cli.inputs import checkpoint_and_session, session_of, system_of
from spikereach.cli.options import Areas, CheckpointFile, Configs, File, Json, Monkey, Trust
from spikereach.cli.outputs import show

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
R2                 {r2:.4f} (x {r2_x:.4f}, y {r2_y:.4f}){silent}
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

    found = {"system": system} | describe(system_of(system, config), channels)
    part = "\n  {kind:8} {layer:22} {values:>9,} values {bytes:>9,} bytes".format_map
    parts, steps = map(part, found["deployment"]["parts"]), found["receptive_field"]
    field = f"{steps} steps" if steps else "unbounded"
    show(found, as_json, _DESCRIPTION + _TIMING, parts="".join(parts), field=field)


def decode(
    checkpoint: CheckpointFile,
    file: File,
    out: Annotated[Path, typer.Option(help="Output: .csv, .h5 or .nwb.")],
    monkey: Monkey = None,
    areas: Areas = None,
    trust: Trust = None,
    config: Configs = None,
) -> None:
    """Decode the velocities of a whole recording.

    Velocities are in the recording's unit of position per step of 4 ms; step 0 is its first, and
    time_s is on the clock of its file. With an NWB file, OUT may be one, too: a copy of it, with
    the velocity in a processing module of its own.

    \b
    Examples:
      spikereach decode checkpoint.safetensors mine.mat --out velocity.csv
      spikereach decode checkpoint.safetensors mine.nwb --out velocities.nwb
    """
    from spikereach.evaluation.errors import EvaluationError
    from spikereach.kinds import Kind, check_absent, check_overwriting, kind_of

    if out.suffix not in (".csv", ".h5", ".nwb"):
        raise EvaluationError(
            f"{out}: velocities are written as .csv, .h5 or .nwb: choose one of them"
        )
    if out.suffix == ".nwb":
        if kind_of(file) is not Kind.NWB:
            raise EvaluationError(
                f"{out}: is written as a copy of an NWB file, which {file} is not: give that, or "
                "make it with `spikereach convert`, or write a .csv"
            )
        check_absent(out)
    else:
        check_overwriting(out, Kind.VELOCITIES, [checkpoint, file, *(config or [])])
    loaded, binned = checkpoint_and_session(checkpoint, trust, file, monkey, areas, config)

    import h5py
    from pandas import DataFrame

    from spikereach import api
    from spikereach.data.matfile import STEP_S
    from spikereach.files import replace

    velocity = api.decode(loaded, binned)
    if out.suffix == ".nwb":
        from spikereach.data.nwb.writing import add_velocity

        add_velocity(file, velocity, binned.provenance["nwb"], f"{checkpoint}", out)
        typer.echo(f"wrote {len(velocity):,} velocities to {out}")
        return
    image = io.BytesIO()
    if out.suffix == ".h5":
        with h5py.File(image, "w") as file:
            file.create_dataset("velocity", data=velocity, compression="gzip")
            file.attrs.update(start_s=binned.start_s, dt_s=STEP_S)
    else:
        steps, (x, y) = range(len(velocity)), velocity.T
        time = [f"{time:.6f}" for time in binned.time_s]
        table = DataFrame({"step": steps, "time_s": time, "velocity_x": x, "velocity_y": y})
        table.to_csv(image, index=False, lineterminator="\n", na_rep="nan")
    replace(out, image.getbuffer())
    typer.echo(f"wrote {len(velocity):,} velocities to {out}")


def evaluate(
    checkpoint: CheckpointFile,
    file: File,
    as_json: Json = False,
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
    from spikereach import api

    loaded, binned = checkpoint_and_session(checkpoint, trust, file, monkey, areas, config)
    found = api.evaluate(loaded, binned, neurobench_steps)
    silent = "".join(f"\n  {area + ' silent':17}{r2:.4f}" for area, r2 in found.silenced.items())
    show(found.model_dump(mode="json"), as_json, _METRICS, silent=silent)


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

    loaded, binned = checkpoint_and_session(checkpoint, trust, file, monkey, areas, config)
    found = stream(loaded, binned, steps)
    show(found.model_dump(mode="json"), as_json, _STREAM + _TIMING)


def export(
    checkpoint: CheckpointFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    form: Annotated[
        Literal["c", "onnx", "nir"],
        typer.Option("--format", help="C99 for microcontrollers, or a graph of one step."),
    ],
    session: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Session on whose test part the C is compared with Python; else random spikes.",
        ),
    ] = None,
    monkey: Monkey = None,
    areas: Areas = None,
    trust: Trust = None,
    config: Configs = None,
) -> None:
    """Write a decoder for where it will run: integer C, or an ONNX or NIR graph.

    In a folder of C, `make check` tells whether the last bit agrees. What lies at OUT must be an
    export, which is replaced.

    \b
    Example: spikereach export checkpoint.safetensors decoder --format c --session indy.h5
    """
    from spikereach import api
    from spikereach.export.folder import check_overwriting

    check_overwriting(out)
    binned = None if session is None else session_of(session, monkey, areas, config)
    api.export_decoder(checkpoint, out, form, binned, trust=trust or ())
    typer.echo(f"wrote {checkpoint} as {form} to {out}")
