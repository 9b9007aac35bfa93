"""Compression: the steps a system's configuration lists, one after the other."""


rule compress_decoder:
    input:
        checkpoint=lambda wildcards: trained(
            get_system(wildcards.system).base or wildcards.system,
            wildcards.session,
            wildcards.seed,
        ),
        binned=binned("{session}"),
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
        mem_mb=compression_memory,
        runtime=compression_minutes,
        gpu=GPU,
    params:
        system=compression_spec,
        threads=run.threads,
        code=lambda wildcards: code("compress_decoder", wildcards.system),
    script:
        "../scripts/compress_decoder.py"
