"""What a run will cost, before it begins."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from spikereach.cli.inputs import config_of
from spikereach.cli.options import Configs, Json
from spikereach.cli.outputs import tell

_NOT_COUNTED = """\
Hours are an upper limit, for one training at a time: early stopping, the search's stopping of
poor trials and pruning that ends early are left out. So are downloads, binning, closed forms
(Wiener, Kalman), cutting windows, and the evaluation of {decoders:,} decoders, most of which is
NeuroBench's own run over {neurobench} test steps: seconds to a minute each.{side_by_side}
"""
_STORAGE = """\
Recordings: {sessions}. To download: {download:.1f} GB, estimated where sizes are not known. To
keep, results included: {keep:.1f} GB.
"""
_SIDE_BY_SIDE = """
`snakemake --cores N` runs as many side by side as N allows; threads of each: {threads}."""


def budget(
    systems: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SYSTEM]...", help="Default: all that the configured run shows."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(help="Where trainings shall run. Default: that of the configuration."),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="Time to measure for, in all; compiling comes on top."),
    ] = 60.0,
    as_json: Json = False,
    config: Configs = None,
) -> None:
    """Hours, memory, download and disk of a run, from step times measured on this machine.

    Needs no recordings. Each recipe gets the same share of the time. A batch that would take
    longer, or too much memory, is measured in part and scaled up; the table says so.

    \b
    Examples:
      spikereach budget
      spikereach budget SNN2 RTnet --device cpu
      spikereach budget --config config.yaml --config workflow/presets/laptop.yaml
    """
    from spikereach.surroundings import settle

    settings = config_of(config)
    settle(settings.threads)  # before the libraries that read it are imported

    from spikereach.workflow.budget import project

    found = project(settings, systems or [], device or settings.device, seconds)
    tell(found, as_json, lambda: _text(found))
    if any("failed" in row for row in found["trainings"]):
        raise typer.Exit(1)


def _text(found: dict[str, Any]) -> str:
    import pandas as pd

    where = f"{found['device'].upper()}, {found['name']}"
    if found["device"] == "cpu":
        where += f", {found['threads']} threads" if found["threads"] > 1 else ", one thread"
    parts = [f"Measured in {found['seconds']:.0f} s on {where}; PyTorch {found['torch']}."]
    measured = [row for row in found["trainings"] if "failed" not in row]
    if measured:
        rows = pd.DataFrame(measured)
        rows["memory_bytes"] = rows.memory_bytes.astype(float)
        groups = rows.groupby(["system", "training", "batch"], sort=False)
        shown = groups.agg(
            {"measured_batch": "min", "update_ms": "max", "runs": "sum", "hours": "sum"}
            | {"memory_bytes": "max"}
        ).reset_index()
        shown["minutes"] = 60 * shown.hours / shown.runs
        shown["gb"] = shown.memory_bytes / 1e9
        columns = {
            "system": ("system", ""),
            "training": ("training", ""),
            "batch": ("batch", ".0f"),
            "measured_batch": ("measured", ".0f"),
            "update_ms": ("ms per update", ".0f"),
            "minutes": ("minutes per run", ".1f"),
            "runs": ("runs", ".0f"),
            "hours": ("hours", ".1f"),
            "gb": ("GB of memory", ".1f"),
        }
        parts.append(_table(shown[list(columns)], columns))
        if (shown.measured_batch < shown.batch).any():
            parts.append(
                "Where fewer windows were measured than a batch has, time and memory are scaled up "
                "along a\nline through two batches that were."
            )
    failed = {
        f"{r['system']}, {r['training']}: {r['failed']}"
        for r in found["trainings"]
        if "failed" in r
    }
    parts += [f"failed, and not in any sum: {each}" for each in sorted(failed)]
    columns = {
        "target": ("target", ""),
        "trainings": ("trainings", ".0f"),
        "hours": ("hours", ".1f"),
    }
    parts.append(_table(pd.DataFrame(found["targets"])[list(columns)], columns))
    storage, steps = found["storage"], found["neurobench_steps"]
    gigabytes = {key: storage[f"{key}_bytes"] / 1e9 for key in ("download", "keep")}
    parts.append(_STORAGE.format(**storage, **gigabytes).rstrip())
    neurobench = f"{steps:,}" if steps else "all"
    side_by_side = _SIDE_BY_SIDE.format(**found) if found["device"] == "cpu" else ""
    left_out = _NOT_COUNTED.format(**storage, neurobench=neurobench, side_by_side=side_by_side)
    return "\n\n".join([*parts, left_out.rstrip()])


def _table(rows: Any, columns: dict[str, tuple[str, str]]) -> str:
    heads, formats = zip(*columns.values(), strict=True)
    return rows.to_markdown(index=False, headers=heads, floatfmt=formats)
