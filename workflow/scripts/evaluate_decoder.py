"""Measure a decoder on the test part of a session, and check it bin by bin."""

from spikereach.workflow.job import job

with job(snakemake):
    from spikereach.config import Evaluation
    from spikereach.data.binning import BinnedSession
    from spikereach.evaluation.evaluate import evaluate, write_json, write_predictions
    from spikereach.evaluation.records import Metrics
    from spikereach.models import checkpoint
    from spikereach.provenance import provenance

    decoder = checkpoint.load(snakemake.input.checkpoint, trust=[snakemake.params.architecture])
    decoder.system_name = snakemake.wildcards.system
    session = BinnedSession.load(snakemake.input.binned)
    settings = Evaluation.model_validate_json(snakemake.params.evaluation)
    result = evaluate(decoder, session, settings)
    manifest = provenance(
        evaluation=settings.model_dump(mode="json"),
        checkpoint=decoder.provenance,
        session=session.provenance,
    )
    metrics = Metrics(**dict(result.metrics), source=snakemake.params.source, provenance=manifest)
    write_json(metrics, snakemake.output.metrics)
    write_json(result.realtime, snakemake.output.realtime)
    write_predictions(result, snakemake.output.predictions)
