"""Hyperparameter searches: a job per trial. Those of one share results/search/NAME/journal.log.

The journal is no output, because every trial adds to it; a study in it bears the digest of all
that its trials depend on.
"""


rule run_trial:
    input:
        unpack(ask(plan.trial_inputs)),
    output:
        trial="results/search/{search}/trial{number}.json",
    log:
        "logs/search/{search}/trial{number}.log",
    benchmark:
        "logs/search/{search}/trial{number}.tsv"
    wildcard_constraints:
        number=r"\d+",
    priority: lambda wildcards: -int(wildcards.number)
    conda:
        "../../envs/spikereach.yaml"
    threads: run.threads
    resources:
        mem_mb=grows(plan.trial_memory),
        runtime=grows(plan.trial_minutes),
        gpu=ask(plan.trial_gpus),
    params:
        spec=ask(plan.trial_spec),
        threads=run.threads,
        code=ask(lambda search: plan.code("run_trial", plan.search(search).system)),
    script:
        "../scripts/run_trial.py"


rule search:
    """The hyperparameter searches that the configuration has."""
    input:
        expand(FIGURE, name=[f"search_{name}" for name in run.search]),
        plan.found(),


rule checkpoints:
    """All that takes training: the checkpoints of the run, and its searches."""
    input:
        plan.final_checkpoints(),
        plan.found(),
