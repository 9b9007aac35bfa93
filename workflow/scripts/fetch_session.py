"""Fetch, copy or generate a session file, and write down its MD5."""

from spikereach.workflow.job import job

with job(snakemake):
    from pathlib import Path

    from spikereach.config import validate
    from spikereach.config.sessions import find
    from spikereach.data import sources
    from spikereach.identity import file_checksum

    config = validate(snakemake.config)
    target = Path(snakemake.output.raw)
    session = find(snakemake.wildcards.session, config.catalogue)
    sources.of(config).fetch(session, target)
    md5 = file_checksum(target, "md5")
    Path(snakemake.output.checksum).write_text(f"{md5}  {target.name}\n", "utf-8")
