"""Compression: the steps a system's configuration lists, one after the other."""


rule compress_decoder:
    input:
        checkpoint=ask(plan.base_checkpoint),
        binned=plan.binned("{session}"),
    output:
        checkpoint="results/compress/{system}/{session}/seed{seed}/checkpoint.safetensors",
        history="results/compress/{system}/{session}/seed{seed}/history.csv",
    log:
        "logs/compress/{system}/{session}/seed{seed}.log",
    benchmark:
        "logs/compress/{system}/{session}/seed{seed}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    threads: run.threads
    resources:
        mem_mb=grows(plan.memory),
        runtime=grows(plan.minutes),
        gpu=ask(plan.gpus),
    params:
        system=ask(plan.compression_spec),
        threads=run.threads,
        code=ask(plan.code, script="compress_decoder"),
    script:
        "../scripts/compress_decoder.py"
