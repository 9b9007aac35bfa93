"""Bin a session file."""

from spikereach.workflow.job import job

with job(snakemake):
    import json

    from spikereach.config.sessions import Session
    from spikereach.data.binning import bin_session

    session = Session(**json.loads(snakemake.params.session))
    bin_session(snakemake.input.raw, session).save(snakemake.output.binned)
