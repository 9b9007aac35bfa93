"""Latency against the kernel length of convolutional decoders."""

from spikereach.workflow.job import job

with job(snakemake):
    from pathlib import Path

    from spikereach.reporting import drawing, figures

    drawing.write(figures.latency(), Path(snakemake.output.pdf).parent)
