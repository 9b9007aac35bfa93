"""The table of hyperparameters, as LaTeX, CSV and Markdown."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    from spikereach.config import System
    from spikereach.provenance import repository_state, short_commit
    from spikereach.reporting import render
    from spikereach.reporting.hyperparameters import hyperparameters

    systems = {
        name: System.model_validate(entry) for name, entry in json.loads(snakemake.params.systems)
    }
    table = hyperparameters(systems, commit=short_commit(*repository_state()))
    render.write(table, Path(snakemake.output.tex).parent)
