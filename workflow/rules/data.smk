"""Recordings: fetched, copied or generated, then binned."""


rule fetch_session:
    """Put a session file into the run folder, whatever its source.

    A copy placed there by hand is kept (`update`) and checked.
    """
    input:
        unpack(fetch_input),
    output:
        raw=update("data/raw/{session}.mat"),
        checksum="data/raw/{session}.md5",
    log:
        "logs/data/raw/{session}.log",
    benchmark:
        "logs/data/raw/{session}.tsv"
    priority: fetch_priority
    localrule: source.downloads
    conda:
        "../../envs/spikereach.yaml"
    resources:
        downloads=int(source.downloads),
        mem_mb=fetch_memory,
        runtime=grows(120),
    params:
        origin=origin_spec,
    script:
        "../scripts/fetch_session.py"


rule bin_session:
    """Spikes per 4 ms bin, velocity and splits, as NeuroBench makes them.

    What counts is the checksum: a session file that merely got a new time stamp is not
    binned again.
    """
    input:
        raw=ancient("data/raw/{session}.mat"),
        checksum="data/raw/{session}.md5",
    output:
        binned="data/binned/{session}.h5",
    log:
        "logs/data/binned/{session}.log",
    benchmark:
        "logs/data/binned/{session}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows_with_input(500, 4),
        runtime=grows(10),
    params:
        session=lambda wildcards: canonical(asdict(get_session(wildcards.session))),
        code=code("bin_session"),
    script:
        "../scripts/bin_session.py"


rule data:
    """All sessions of the run, binned, and published weights: what needs the network."""
    input:
        expand(binned("{session}"), session=all_sessions()),
        weights_files(),
