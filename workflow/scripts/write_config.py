"""The configuration of the run, as all its jobs saw it, beside its results and for the report."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    import yaml

    from spikereach.reporting.render import page, quote, write_text

    text = yaml.safe_dump(json.loads(snakemake.params.config), sort_keys=False)
    write_text(Path(snakemake.output.html), page("Configuration", f"<pre>{quote(text)}</pre>"))
    write_text(Path(snakemake.output.config), text)
