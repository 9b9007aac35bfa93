"""Hyperparameter search: a job per trial. Trials share results/search/journal.log.

The journal is no output, because every trial adds to it; a study in it bears the digest of all
that its trials depend on.
"""


rule run_trial:
    input:
        unpack(ask(plan.trial_inputs)),
    output:
        trial="results/search/trial{number}.json",
    log:
        "logs/search/trial{number}.log",
    benchmark:
        "logs/search/trial{number}.tsv"
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
        code=ask(lambda: plan.code("run_trial", plan.search.system)),
    script:
        "../scripts/run_trial.py"


rule search:
    """The hyperparameter search, where the configuration has one."""
    input:
        multiext("figures/search", ".pdf", ".png", ".csv") if run.search else [],
        "results/search/best.yaml" if run.search else [],


rule checkpoints:
    """All that takes training: the checkpoints of the run, and its search."""
    input:
        plan.final_checkpoints(),
        "results/search/best.yaml" if run.search else [],
