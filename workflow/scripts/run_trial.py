"""One trial of the hyperparameter search."""

from spikereach.workflow.job import job

with job(snakemake) as run:
    import json
    from pathlib import Path

    from spikereach.config import Search, System
    from spikereach.data.binning import BinnedSession
    from spikereach.files import replace
    from spikereach.identity import digest
    from spikereach.workflow.search import run_trial

    settings, entry = json.loads(snakemake.params.spec)
    session = BinnedSession.load(snakemake.input.binned)
    output = Path(snakemake.output.trial)
    trials = snakemake.config["search"][snakemake.wildcards.search]["trials"]
    # All that outcomes depend on.
    study = digest([settings, entry, snakemake.params.code, session.provenance["sha256"]])
    trial = run_trial(
        Search.model_validate({**settings, "trials": trials}),
        System.model_validate(entry),
        session,
        number=int(snakemake.wildcards.number),
        journal=output.with_name("journal.log"),
        study=study[:16],
        resume=run.resume,
        **run.training,
    )
    replace(output, (json.dumps(trial, indent=2) + "\n").encode())
