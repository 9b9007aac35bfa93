"""Published weights: fetched and turned into checkpoints, to be evaluated like trained ones."""


rule fetch_weights:
    """One published file, from its pinned commit or from `weights_folder`."""
    output:
        weights="data/weights/{weights}",
    log:
        "logs/data/weights/{weights}.log",
    benchmark:
        "logs/data/weights/{weights}.tsv"
    wildcard_constraints:
        # What lies there is used as it is: its checksum says what it is (import_weights).
        weights=but(
            files_of("data/weights", "*/*"), r"[A-Za-z0-9]+/[A-Za-z0-9_\-]+\.pth?"
        ),
    localrule: True
    conda:
        "../../envs/spikereach.yaml"
    resources:
        downloads=int(run.weights_folder is None),
        mem_mb=grows(500),
        runtime=grows(30),
    script:
        "../scripts/fetch_weights.py"


rule import_weights:
    input:
        weights=ask(plan.weights_file),
    output:
        checkpoint="results/import/{system}/{session}/seed{seed}/checkpoint.safetensors",
    log:
        "logs/import/{system}/{session}/seed{seed}.log",
    benchmark:
        "logs/import/{system}/{session}/seed{seed}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        system=ask(plan.import_spec),
        code=ask(plan.code, script="import_weights"),
    script:
        "../scripts/import_weights.py"
