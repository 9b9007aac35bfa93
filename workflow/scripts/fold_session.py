"""Turn a binned session in time, as a fold of the cross-validation."""

from spikereach.workflow.job import job

with job(snakemake):
    import json

    from spikereach.data.binning import BinnedSession
    from spikereach.data.folds import fold

    session = BinnedSession.load(snakemake.input.binned)
    fold(session, **json.loads(snakemake.params.fold)).save(snakemake.output.binned)
