"""Tables, figures, and the configuration they were made with."""


rule write_table:
    input:
        metrics=lambda wildcards: evaluations(get_table(wildcards.table)),
        realtime=lambda wildcards: evaluations(
            get_table(wildcards.table), "realtime.json"
        ),
    output:
        tex=report(
            "paper_tables/{table}.tex",
            category="Tables",
            caption="../report/table.rst",
        ),
        csv="paper_tables/{table}.csv",
        md="paper_tables/{table}.md",
    log:
        "logs/paper_tables/{table}.log",
    benchmark:
        "logs/paper_tables/{table}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        systems=lambda wildcards: systems_spec(get_table(wildcards.table)),
        code=code("write_table"),
    script:
        "../scripts/write_table.py"


rule write_config:
    output:
        config="results/config.yaml",
    log:
        "logs/config.log",
    benchmark:
        "logs/config.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        config=canonical(run),
    script:
        "../scripts/write_config.py"


rule tables:
    input:
        expand(
            "paper_tables/{table}.{type}", table=run.tables, type=["tex", "csv", "md"]
        ),


rule figures:
    input:
        [],
