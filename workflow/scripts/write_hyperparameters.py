"""The table of hyperparameters, as LaTeX, CSV and Markdown."""

from spikereach.job import job

with job(snakemake):
    import json
    from pathlib import Path

    from spikereach.config import System
    from spikereach.reporting import render
    from spikereach.reporting.hyperparameters import hyperparameters
    from spikereach.reporting.provenance import repository_state, short_commit

    systems = {
        name: System.model_validate(entry) for name, entry in json.loads(snakemake.params.systems)
    }
    table = hyperparameters(systems, commit=short_commit(*repository_state()))
    render.write(table, Path(snakemake.output.tex).parent)
