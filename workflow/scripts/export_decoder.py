"""Write a fixed-point decoder as C, with bins of the test part and what it says to them."""

from spikereach.workflow.job import job

with job(snakemake):
    import os
    from pathlib import Path

    from spikereach.evaluation.evaluate import deployed
    from spikereach.export import agreement, c, folder
    from spikereach.export.program import program
    from spikereach.models import checkpoint
    from spikereach.reporting import predictions

    path, out = snakemake.input.checkpoint, Path(snakemake.output[0]).parent
    found = checkpoint.load(path, trust=[snakemake.params.architecture])
    found.system_name = snakemake.wildcards.system
    test = predictions.read(Path(snakemake.input.predictions))
    integers = program(deployed(found))
    agreement.check(integers, test.spikes, test.predicted)
    told = {"format": "c", **folder.about(found, path)}
    files = c.files(integers, test.spikes[: snakemake.params.bins], folder.lines(told))
    told["checkpoint"] = Path(os.path.relpath(path, out)).as_posix()
    told["vectors"] = f"session {test.session} from step {test.first_step}"
    folder.write(out, files, told)
