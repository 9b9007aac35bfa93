"""Training: one rule for pretraining (dataset = monkey) and fine-tuning (dataset = session)."""


rule train_decoder:
    input:
        unpack(ask(plan.training_inputs)),
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
        mem_mb=grows(plan.memory),
        runtime=grows(plan.minutes),
        gpu=ask(plan.gpus),
    params:
        system=ask(plan.training_spec),
        stage=ask(plan.stage),
        threads=run.threads,
        code=ask(plan.code, script="train_decoder"),
    script:
        "../scripts/train_decoder.py"
