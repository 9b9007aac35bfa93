"""Train a system on one session, or pretrain it on all sessions of a monkey."""

from spikereach.workflow.job import job

with job(snakemake) as run:
    from spikereach.config import System
    from spikereach.data.binning import BinnedSession
    from spikereach.models import checkpoint
    from spikereach.provenance import provenance
    from spikereach.training.fit import fit

    system = System.model_validate_json(snakemake.params.system)
    sessions = [BinnedSession.load(path) for path in snakemake.input.binned]
    pretrained = snakemake.input.get("pretrained")
    trained, history = fit(
        system,
        sessions,
        system_name=snakemake.wildcards.system,
        dataset=snakemake.wildcards.dataset,
        stage=snakemake.params.stage,
        seed=int(snakemake.wildcards.seed),
        pretrained=checkpoint.load(pretrained, trust=[system.architecture]) if pretrained else None,
        resume=run.resume / "training.safetensors",
        provenance=provenance(
            training=system.training.model_dump(mode="json"),
            sessions={session.name: session.provenance["sha256"] for session in sessions},
        ),
        **run.training,
    )
    history.to_csv(snakemake.output.history, index=False)
    checkpoint.save(trained, snakemake.output.checkpoint)
