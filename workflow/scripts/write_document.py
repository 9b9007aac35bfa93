"""One LaTeX document of all tables."""

from spikereach.workflow.job import job

with job(snakemake):
    from pathlib import Path

    from spikereach.reporting import render

    names = [Path(path).stem for path in snakemake.input.tables]
    text = render.document(names, where_made=snakemake.params.where_made)
    render.write_text(Path(snakemake.output.tex), text)
