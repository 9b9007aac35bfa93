"""One trial of the hyperparameter search."""

from spikereach.workflow.job import clear, device, events_folder, job, resume_folder

with job(snakemake):
    import json
    from pathlib import Path

    from spikereach.config import Search, System
    from spikereach.data.binning import BinnedSession
    from spikereach.identity import digest
    from spikereach.reporting.render import write_text
    from spikereach.workflow.search import run_trial

    settings, entry = json.loads(snakemake.params.spec)
    session = BinnedSession.load(snakemake.input.binned)
    output = Path(snakemake.output.trial)
    resume = resume_folder(snakemake)
    # All that outcomes depend on.
    study = digest([settings, entry, snakemake.params.code, session.provenance["sha256"]])
    trial = run_trial(
        Search.model_validate({**settings, "trials": snakemake.config["search"]["trials"]}),
        System.model_validate(entry),
        session,
        number=int(snakemake.wildcards.number),
        journal=output.with_name("journal.log"),
        study=study[:16],
        resume=resume / "training.safetensors",
        device=device(snakemake),
        progress=snakemake.config["progress"],
        events=events_folder(snakemake),
    )
    write_text(output, json.dumps(trial, indent=2) + "\n")
    clear(resume)
