"""Fetch, copy or generate a session file, and write down its MD5."""

from spikereach.workflow.job import job

with job(snakemake):
    import hashlib
    from pathlib import Path

    from spikereach.config import validate
    from spikereach.data.sessions import find
    from spikereach.data.sources import fetch

    config = validate(snakemake.config)
    target = Path(snakemake.output.raw)
    fetch(find(snakemake.wildcards.session, config), target, config)
    with target.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    Path(snakemake.output.checksum).write_text(f"{md5}  {target.name}\n")
