"""Recordings: fetched, copied or generated, then binned."""

# Snakemake deletes what a rule makes before its job runs, and refuses to run where that is
# read-only. Session files that lie there already, which may have been put there by hand, are
# therefore no output of any rule.
present = [Path(name).stem for name in files_of("data/raw", "*.mat")]
# Of a link whose disk is away, Snakemake says that a concurrent process has deleted a file.
for name in plan.all_sessions:
    path = place_of("data/raw") / f"{name}.mat"
    if path.is_symlink() and not path.exists():
        sys.exit(f"error: {path}: {mistaken(path, Kind.SESSION)}")


rule fetch_session:
    """Put a session file into the run folder, whatever its source."""
    input:
        unpack(ask(plan.fetch_inputs)),
    output:
        raw="data/raw/{session}.mat",
        checksum="data/raw/{session}.md5",
    log:
        "logs/data/raw/{session}.log",
    benchmark:
        "logs/data/raw/{session}.tsv"
    wildcard_constraints:
        session=but(
            [f"{name}.{kind}" for name in present for kind in ("mat", "md5")],
            r"[A-Za-z0-9][A-Za-z0-9_.\-]*",
        ),
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


use rule fetch_session as check_session with:
    """Check a session file that lies there; make it anew where an earlier job made it from what
    has changed since."""
    output:
        checksum="data/raw/{session}.md5",
    wildcard_constraints:
        session=only(present),


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
    wildcard_constraints:
        session=r"(?!.*\.fold\d+\.)[A-Za-z0-9][A-Za-z0-9_.\-]*",
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


rule fold_session:
    """A binned session turned in time, so that the block that is tested comes last."""
    input:
        binned="data/binned/{session}.h5",
    output:
        binned="data/binned/{session}.fold{fold}.h5",
    log:
        "logs/data/binned/{session}.fold{fold}.log",
    benchmark:
        "logs/data/binned/{session}.fold{fold}.tsv"
    wildcard_constraints:
        fold=r"[1-9]\d*",
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        fold=ask(plan.fold_spec),
        code=plan.code("fold_session"),
    script:
        "../scripts/fold_session.py"


rule data:
    """All sessions of the run, binned, and published weights: what needs the network."""
    input:
        [plan.binned(name) for name in plan.all_sessions],
        plan.weights_files(),
