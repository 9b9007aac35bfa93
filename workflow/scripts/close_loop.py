"""Let a simulated user control a cursor through a decoder, or with the arm itself."""

from spikereach.workflow.job import job

with job(snakemake) as run:
    import json

    from spikereach.closed_loop.conditions import played_by_arm, played_by_decoder
    from spikereach.data.binning import BinnedSession
    from spikereach.models import checkpoint
    from spikereach.provenance import provenance

    session = BinnedSession.load(snakemake.input.binned)
    settings, seed = json.loads(snakemake.params.played), int(snakemake.wildcards.seed)
    about = {"closed_loop": settings, "session": session.provenance}
    if settings["architecture"] is None:
        record = played_by_arm(session, seed, settings, provenance(**about))
    else:
        decoder = checkpoint.load(snakemake.input.checkpoint, trust=[settings["architecture"]])
        decoder.system_name = snakemake.wildcards.system
        about["checkpoint"] = decoder.provenance
        origin = provenance(**about)
        record = played_by_decoder(decoder, session, seed, settings, origin, run.resume)
    record.write(snakemake.output.record)
