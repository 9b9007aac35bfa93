"""A figure of the results of several systems."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    from spikereach.config import System
    from spikereach.reporting import drawing, figures
    from spikereach.reporting.collect import collect

    systems = {
        name: System.model_validate(entry) for name, entry in json.loads(snakemake.params.systems)
    }
    draw = {"r2_by_session": figures.r2_by_session, "pareto": figures.pareto}
    results = [*snakemake.input.metrics, *snakemake.input.realtime]
    plot = draw[snakemake.wildcards.figure](collect(results), systems)
    drawing.write(plot, Path(snakemake.output.pdf).parent)
