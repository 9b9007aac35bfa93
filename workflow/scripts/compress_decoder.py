"""Compress a trained decoder by the steps of its system."""

from spikereach.workflow.job import job

with job(snakemake) as run:
    from spikereach.compression import compress
    from spikereach.config import System
    from spikereach.data.binning import BinnedSession
    from spikereach.models import checkpoint

    system = System.model_validate_json(snakemake.params.system)
    compressed, history = compress(
        checkpoint.load(snakemake.input.checkpoint, trust=[system.architecture]),
        [BinnedSession.load(snakemake.input.binned)],
        system,
        system_name=snakemake.wildcards.system,
        seed=int(snakemake.wildcards.seed),
        resume=run.resume,
        **run.training,
    )
    history.to_csv(snakemake.output.history, index=False)
    checkpoint.save(compressed, snakemake.output.checkpoint)
