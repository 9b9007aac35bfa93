"""Decoders in the hands of simulated users, on synthetic sessions."""


rule close_loop:
    # A decoder, or the arm itself where a system is called `arm`.
    input:
        unpack(ask(plan.loop_inputs)),
    output:
        record="results/closed_loop/{system}/{session}/seed{seed}/loop.json",
    log:
        "logs/closed_loop/{system}/{session}/seed{seed}.log",
    benchmark:
        "logs/closed_loop/{system}/{session}/seed{seed}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        played=ask(plan.loop_spec),
        code=ask(plan.loop_code),
    script:
        "../scripts/close_loop.py"
