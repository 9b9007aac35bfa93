"""Measure a decoder on the test part of a session, and check it bin by bin."""

from spikereach.job import job

with job(snakemake):
    import json
    from pathlib import Path

    import h5py

    from spikereach.config import Evaluation
    from spikereach.data.binning import BinnedSession
    from spikereach.evaluation.evaluate import evaluate
    from spikereach.reporting.provenance import provenance
    from spikereach.training import checkpoint

    decoder = checkpoint.load(snakemake.input.checkpoint, trust=[snakemake.params.architecture])
    decoder.system_name = snakemake.wildcards.system
    session = BinnedSession.load(snakemake.input.binned)
    evaluation = Evaluation.model_validate_json(snakemake.params.evaluation)
    result = evaluate(decoder, session, evaluation)
    manifest = provenance(
        evaluation=evaluation.model_dump(mode="json"),
        checkpoint=decoder.provenance,
        session=session.provenance,
    )
    metrics = result.metrics | {"source": snakemake.params.source, "provenance": manifest}
    Path(snakemake.output.metrics).write_text(json.dumps(metrics, indent=2) + "\n")
    Path(snakemake.output.realtime).write_text(json.dumps(result.realtime, indent=2) + "\n")
    with h5py.File(snakemake.output.predictions, "w") as file:
        file.create_dataset("velocity", data=result.predicted, compression="gzip")
        file.attrs["first_step"] = result.first_step
