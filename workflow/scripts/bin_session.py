"""Bin a session file."""

from spikereach.workflow.job import job

with job(snakemake):
    import json

    from spikereach.config.sessions import Session
    from spikereach.data.binning import bin_session
    from spikereach.data.errors import SessionError
    from spikereach.workflow.manifest import written

    raw, checksum = snakemake.input.raw, snakemake.input.checksum
    if not written(checksum):  # somebody's own, with which Snakemake takes the check as done
        raise SessionError(
            f"{checksum}: no job is known to have written it, so that nothing has checked {raw}: "
            "take it away and run again"
        )
    session = Session(**json.loads(snakemake.params.session))
    bin_session(raw, session).save(snakemake.output.binned)
