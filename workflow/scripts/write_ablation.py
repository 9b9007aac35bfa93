"""An ablation as a figure and a table."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    from spikereach.config import System
    from spikereach.reporting import ablations, drawing, figures, render
    from spikereach.reporting.collect import collect, commits

    labels, entries = json.loads(snakemake.params.spec)
    systems = {name: System.model_validate(entry) for name, entry in entries}
    frame, commit = collect(snakemake.input), commits(snakemake.input)
    if snakemake.wildcards.ablation == "cortex":
        plot = figures.cortex_ablation(frame, labels)
        table = ablations.cortex_table(frame, labels, commit=commit)
    else:
        plot = ablations.compression_plot(frame, labels, systems)
        table = ablations.compression_table(frame, labels, systems, commit=commit)
    drawing.write(plot, Path(snakemake.output.pdf).parent)
    render.write(table, Path(snakemake.output.tex).parent)
