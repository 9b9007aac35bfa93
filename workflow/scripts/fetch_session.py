"""Fetch, copy or generate a session file, or check the one that lies there; write down its MD5."""

from spikereach.workflow.job import job

with job(snakemake) as run:
    from pathlib import Path

    from spikereach.config import validate
    from spikereach.config.sessions import find
    from spikereach.data import sources
    from spikereach.identity import file_checksum

    checksum = Path(snakemake.output.checksum)
    target = checksum.with_suffix(".mat")
    config = validate(snakemake.config)
    session = find(snakemake.wildcards.session, config.catalogue)
    made = run.record.earlier.get(str(target))
    if sources.put(sources.of(config), session, target, made):
        run.record.outputs = [str(target), str(checksum)]
    else:
        run.record.inputs.append(str(target))
    checksum.write_text(f"{file_checksum(target, 'md5')}  {target.name}\n", "utf-8")
