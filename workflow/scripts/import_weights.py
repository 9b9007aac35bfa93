"""Turn a file of published weights into a checkpoint."""

from spikereach.workflow.job import job

with job(snakemake):
    from spikereach.config import System
    from spikereach.models import checkpoint
    from spikereach.published.importers import published_checkpoint

    system = System.model_validate_json(snakemake.params.system)
    imported = published_checkpoint(snakemake.wildcards.system, system, snakemake.input.weights)
    checkpoint.save(imported, snakemake.output.checkpoint)
