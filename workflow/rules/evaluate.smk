"""Evaluation on the continuous test part, and the real-time check."""


rule evaluate_decoder:
    input:
        checkpoint=final_checkpoint,
        binned=binned("{session}"),
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
        mem_mb=grows_with_input(1500, 50),
        runtime=grows(60),
    params:
        source=run.source,
        architecture=lambda wildcards: get_architecture(wildcards.system),
        evaluation=canonical(run.evaluation),
        threads=run.threads,
        code=lambda wildcards: code("evaluate_decoder", wildcards.system),
    script:
        "../scripts/evaluate_decoder.py"
