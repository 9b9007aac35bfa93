"""Train a system on one session, or pretrain it on all sessions of a monkey."""

from spikereach.workflow.job import clear, device, events_folder, job, resume_folder

with job(snakemake):
    from spikereach.config import System
    from spikereach.data.binning import BinnedSession
    from spikereach.models import checkpoint
    from spikereach.provenance import provenance
    from spikereach.training.fit import fit

    system = System.model_validate_json(snakemake.params.system)
    sessions = [BinnedSession.load(path) for path in snakemake.input.binned]
    pretrained = snakemake.input.get("pretrained")
    resume = resume_folder(snakemake)
    trained, history = fit(
        system,
        sessions,
        system_name=snakemake.wildcards.system,
        dataset=snakemake.wildcards.dataset,
        stage=snakemake.params.stage,
        seed=int(snakemake.wildcards.seed),
        pretrained=checkpoint.load(pretrained, trust=[system.architecture]) if pretrained else None,
        resume=resume / "training.safetensors",
        device=device(snakemake),
        progress=snakemake.config["progress"],
        events=events_folder(snakemake),
        provenance=provenance(
            training=system.training.model_dump(mode="json"),
            sessions={session.name: session.provenance["sha256"] for session in sessions},
        ),
    )
    history.to_csv(snakemake.output.history, index=False)
    checkpoint.save(trained, snakemake.output.checkpoint)
    clear(resume)
