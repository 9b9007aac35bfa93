"""A table, figure or document, by the function that the registry names."""

from spikereach.workflow.job import job

with job(snakemake):
    from pathlib import Path

    from spikereach.reporting.make import make, write

    params = snakemake.params.job
    inputs = dict(snakemake.input.items())
    made = make(params["function"], inputs, params["settings"])
    write(made, Path(snakemake.output[0]).with_suffix(""))
