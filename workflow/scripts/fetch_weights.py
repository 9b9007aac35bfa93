"""Fetch one file of published weights, or find it in a folder."""

from spikereach.workflow.job import job

with job(snakemake):
    from pathlib import Path

    from spikereach.config import validate
    from spikereach.published.weights import fetch, sources

    config = validate(snakemake.config)
    (source,) = (source for source in sources() if source.file == snakemake.wildcards.weights)
    fetch(
        source,
        Path(snakemake.output.weights),
        folder=config.weights_folder,
        settings=config.download,
        progress=config.progress,
    )
