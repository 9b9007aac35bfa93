"""One table of systems, as LaTeX, CSV and Markdown."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    from spikereach.config import System
    from spikereach.reporting import render, tables
    from spikereach.reporting.collect import collect, commits

    systems = {
        name: System.model_validate(entry) for name, entry in json.loads(snakemake.params.systems)
    }
    results = [*snakemake.input.metrics, *snakemake.input.realtime]
    build = tables.BUILDERS[snakemake.wildcards.table]
    table = build(collect(results), systems, commit=commits(snakemake.input.metrics))
    render.write(table, Path(snakemake.output.tex).parent)
