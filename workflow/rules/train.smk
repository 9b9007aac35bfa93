"""Training: one rule for pretraining (dataset = monkey) and fine-tuning (dataset = session)."""


rule train_decoder:
    input:
        unpack(training_input),
    output:
        checkpoint="results/train/{system}/{dataset}/seed{seed}/checkpoint.safetensors",
        history="results/train/{system}/{dataset}/seed{seed}/history.csv",
    log:
        "logs/train/{system}/{dataset}/seed{seed}.log",
    benchmark:
        "logs/train/{system}/{dataset}/seed{seed}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    threads: run.threads
    resources:
        mem_mb=training_memory,
        runtime=training_minutes,
        gpu=GPU,
    params:
        system=training_spec,
        stage=lambda wildcards: (
            "pretrain" if is_monkey(wildcards.dataset) else "finetune"
        ),
        threads=run.threads,
        code=lambda wildcards: code("train_decoder", wildcards.system),
    script:
        "../scripts/train_decoder.py"
