"""Compress a trained decoder by the steps of its system."""

from spikereach.workflow.job import clear, device, events_folder, job, resume_folder

with job(snakemake):
    from spikereach.compression import compress
    from spikereach.config import System
    from spikereach.data.binning import BinnedSession
    from spikereach.models import checkpoint

    system = System.model_validate_json(snakemake.params.system)
    trained = checkpoint.load(snakemake.input.checkpoint, trust=[system.architecture])
    resume = resume_folder(snakemake)
    compressed, history = compress(
        trained,
        [BinnedSession.load(snakemake.input.binned)],
        system.compression,
        seed=int(snakemake.wildcards.seed),
        resume=resume,
        device=device(snakemake),
        progress=snakemake.config["progress"],
        events=events_folder(snakemake),
    )
    compressed.system_name = snakemake.wildcards.system
    history.to_csv(snakemake.output.history, index=False)
    checkpoint.save(compressed, snakemake.output.checkpoint)
    clear(resume)
