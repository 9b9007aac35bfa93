"""Fixed-point decoders as C, and their firmware on emulated microcontrollers."""


rule export_decoder:
    """As C, with the first bins of the test part and what the decoder says to them.

    It refuses where the integers differ from what the evaluation decoded.
    """
    input:
        checkpoint=ask(plan.final_checkpoint),
        predictions=ask(plan.evaluation, file="predictions.h5"),
    output:
        plan.exported("{system}", "{session}", "{seed}"),
    log:
        "logs/export/{system}/{session}/seed{seed}.log",
    benchmark:
        "logs/export/{system}/{session}/seed{seed}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1500),
        runtime=grows(30),
    params:
        architecture=ask(plan.architecture),
        bins=ask(lambda: plan.firmware.bins),
        code=ask(plan.code, script="export_decoder"),
    script:
        "../scripts/export_decoder.py"


rule measure_firmware:
    input:
        rules.export_decoder.output,
    output:
        record="results/firmware/{system}/{session}/seed{seed}/firmware.json",
    log:
        "logs/firmware/{system}/{session}/seed{seed}.log",
    benchmark:
        "logs/firmware/{system}/{session}/seed{seed}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(500),
        runtime=grows(30),
    params:
        code=ask(plan.code, script="measure_firmware"),
    script:
        "../scripts/measure_firmware.py"
