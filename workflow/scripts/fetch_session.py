"""Fetch, copy or generate a session file, or check the one that lies there; write down its MD5."""

from spikereach.workflow.job import job

with job(snakemake) as run:
    from pathlib import Path

    from spikereach.config import validate
    from spikereach.config.sessions import find
    from spikereach.data import sources
    from spikereach.identity import file_checksum
    from spikereach.kinds import Kind, kind_of

    checksum = Path(snakemake.output.checksum)
    target = checksum.with_suffix(".mat")
    config = validate(snakemake.config)
    session = find(snakemake.wildcards.session, config.catalogue)
    if (kind := kind_of(target)) in (Kind.FOLDER, Kind.RESULTS, Kind.SPECIAL):
        raise sources.wrong(target, f"is {kind.a}")
    made = run.record.earlier.get(str(target))
    if not target.exists() or (not target.is_symlink() and file_checksum(target) == made):
        sources.of(config).fetch(session, target)
        run.record.outputs = [str(target), str(checksum)]
    else:  # somebody else's, who put it there
        sources.of(config).check(session, target)
        run.record.inputs.append(str(target))
    checksum.write_text(f"{file_checksum(target, 'md5')}  {target.name}\n")
