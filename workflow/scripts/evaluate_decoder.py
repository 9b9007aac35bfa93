"""Measure a decoder on the test part of a session, and check it bin by bin."""

from spikereach.workflow.job import job

with job(snakemake):
    from spikereach.config import Evaluation
    from spikereach.data.binning import BinnedSession
    from spikereach.evaluation.evaluate import measure, stream, write_predictions
    from spikereach.evaluation.records import Metrics
    from spikereach.models import checkpoint
    from spikereach.provenance import provenance

    decoder = checkpoint.load(snakemake.input.checkpoint, trust=[snakemake.params.architecture])
    decoder.system_name = snakemake.wildcards.system
    session = BinnedSession.load(snakemake.input.binned)
    settings = Evaluation.model_validate_json(snakemake.params.evaluation)
    measured = measure(decoder, session, settings.neurobench_steps)
    realtime = stream(decoder, session, settings.stream_steps)
    manifest = provenance(
        evaluation=settings.model_dump(mode="json"),
        checkpoint=decoder.provenance,
        session=session.provenance,
    )
    metrics = Metrics(**dict(measured.metrics), source=snakemake.params.source, provenance=manifest)
    metrics.write(snakemake.output.metrics)
    realtime.write(snakemake.output.realtime)
    write_predictions(measured, snakemake.output.predictions)
