"""Write a fixed-point decoder as C, with bins of the test part and what it says to them."""

from spikereach.workflow.job import job

with job(snakemake):
    from pathlib import Path

    from spikereach import files
    from spikereach.evaluation.evaluate import deployed
    from spikereach.export import agreement, c
    from spikereach.export.program import program
    from spikereach.identity import file_checksum
    from spikereach.models import checkpoint
    from spikereach.provenance import repository_state, short_commit
    from spikereach.reporting import predictions

    found = checkpoint.load(snakemake.input.checkpoint, trust=[snakemake.params.architecture])
    test = predictions.read(Path(snakemake.input.predictions))
    integers = program(deployed(found))
    agreement.check(integers, test.spikes, test.predicted)
    origin = (
        f"{test.system} of {test.session}, seed {test.seed}, by spikereach",
        f"checkpoint SHA-256 {file_checksum(snakemake.input.checkpoint)}",
        f"commit {short_commit(*repository_state())}",
    )
    folder = Path(snakemake.output[0]).parent
    for name, content in c.files(integers, test.spikes[: snakemake.params.bins], origin).items():
        files.replace(folder / name, content)
