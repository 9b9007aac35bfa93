"""Turn a file of published weights into a checkpoint."""

from spikereach.job import job

with job(snakemake):
    from spikereach.config import System
    from spikereach.published.checkpoints import published_checkpoint
    from spikereach.training import checkpoint

    system = System.model_validate_json(snakemake.params.system)
    imported = published_checkpoint(snakemake.wildcards.system, system, snakemake.input.weights)
    checkpoint.save(imported, snakemake.output.checkpoint)
