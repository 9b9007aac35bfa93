"""Evaluation on the continuous test part, and the real-time check."""


rule evaluate_decoder:
    input:
        checkpoint=ask(plan.final_checkpoint),
        binned=plan.binned("{session}"),
    output:
        metrics="results/evaluate/{system}/{session}/seed{seed}/metrics.json",
        realtime="results/evaluate/{system}/{session}/seed{seed}/realtime.json",
        predictions="results/evaluate/{system}/{session}/seed{seed}/predictions.h5",
    log:
        "logs/evaluate/{system}/{session}/seed{seed}.log",
    benchmark:
        "logs/evaluate/{system}/{session}/seed{seed}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    threads: run.threads
    resources:
        mem_mb=grows(plan.evaluation_memory),
        runtime=grows(60),
    params:
        source=run.source,
        architecture=ask(plan.architecture),
        evaluation=plan.evaluation_spec(),
        threads=run.threads,
        code=ask(plan.code, script="evaluate_decoder"),
    script:
        "../scripts/evaluate_decoder.py"
