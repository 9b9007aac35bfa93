"""The figures of all tables in one file."""

from spikereach.workflow.job import job

with job(snakemake):
    from spikereach.reporting import summary

    summary.write(summary.summarise(snakemake.input.tables), snakemake.output.metrics)
