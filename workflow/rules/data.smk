"""Recordings: fetched, copied or generated, then binned."""


rule fetch_session:
    """Put a session file into the run folder, whatever its source.

    A copy placed there by hand is kept (`update`) and checked.
    """
    input:
        unpack(ask(plan.fetch_inputs)),
    output:
        raw=update("data/raw/{session}.mat"),
        checksum="data/raw/{session}.md5",
    log:
        "logs/data/raw/{session}.log",
    benchmark:
        "logs/data/raw/{session}.tsv"
    priority: ask(plan.fetch_priority)
    localrule: plan.source.downloads
    conda:
        "../../envs/spikereach.yaml"
    resources:
        downloads=int(plan.source.downloads),
        mem_mb=grows(plan.source.memory_mb),
        runtime=grows(120),
    params:
        origin=ask(plan.origin),
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
        mem_mb=grows(plan.binning_memory),
        runtime=grows(10),
    params:
        session=ask(plan.session_spec),
        code=plan.code("bin_session"),
    script:
        "../scripts/bin_session.py"


rule data:
    """All sessions of the run, binned, and published weights: what needs the network."""
    input:
        [plan.binned(name) for name in plan.all_sessions],
        plan.weights_files(),
