"""The configuration of the run, as all its jobs saw it, beside its results."""

from spikereach.job import job

with job(snakemake):
    import json
    from pathlib import Path

    import yaml

    from spikereach.reporting.render import write_text

    config = json.loads(snakemake.params.config)
    write_text(Path(snakemake.output.config), yaml.safe_dump(config, sort_keys=False))
