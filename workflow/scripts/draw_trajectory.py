"""Decoded against true movement of one session."""

from spikereach.workflow.job import job

with job(snakemake):
    from dataclasses import replace
    from pathlib import Path

    from spikereach.config import Trajectory
    from spikereach.reporting import drawing, figures

    stretch = Trajectory.model_validate_json(snakemake.params.trajectory)
    plot = figures.trajectory(
        dict(zip(stretch.systems, snakemake.input.predictions, strict=True)),
        source=snakemake.params.source,
        start_s=stretch.start_s,
        duration_s=stretch.duration_s,
    )
    path = Path(snakemake.output.pdf)
    drawing.write(replace(plot, name=path.stem), path.parent)
