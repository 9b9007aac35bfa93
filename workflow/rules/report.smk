"""Tables, figures, and the configuration they were made with."""


rule write_table:
    input:
        unpack(ask(plan.table_inputs)),
    output:
        tex="paper_tables/{table}.tex",
        html=report(
            "paper_tables/{table}.html",
            category="Tables",
            labels={"table": "{table}"},
            caption="../report/table.rst",
        ),
        csv="paper_tables/{table}.csv",
        md="paper_tables/{table}.md",
    log:
        "logs/paper_tables/{table}.log",
    benchmark:
        "logs/paper_tables/{table}.tsv"
    wildcard_constraints:
        table=r"(?!(?:all|hyperparameters|cortex_ablation|compression_ablation)\.)[A-Za-z0-9][A-Za-z0-9_.\-]*",
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        systems=ask(plan.table_spec),
        code=plan.code("write_table"),
    script:
        "../scripts/write_table.py"


rule write_hyperparameters:
    """The table that needs no results."""
    output:
        tex="paper_tables/hyperparameters.tex",
        html=report(
            "paper_tables/hyperparameters.html",
            category="Tables",
            labels={"table": "hyperparameters"},
            caption="../report/hyperparameters.rst",
        ),
        csv="paper_tables/hyperparameters.csv",
        md="paper_tables/hyperparameters.md",
    log:
        "logs/paper_tables/hyperparameters.log",
    benchmark:
        "logs/paper_tables/hyperparameters.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(500),
        runtime=grows(5),
    params:
        systems=ask(plan.table_spec, table="hyperparameters"),
        code=plan.code("write_hyperparameters"),
    script:
        "../scripts/write_hyperparameters.py"


rule write_document:
    """One LaTeX document of all tables; compile it where they lie.

    Ablations are targets of their own: it prints their tables where they have been made.
    """
    input:
        tables=expand("paper_tables/{table}.tex", table=plan.written_tables()),
    output:
        tex="paper_tables/all.tex",
    log:
        "logs/paper_tables/all.log",
    benchmark:
        "logs/paper_tables/all.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(500),
        runtime=grows(5),
    params:
        where_made=[f"{name}_ablation" for name in plan.made_ablations()],
        code=plan.code("write_document"),
    script:
        "../scripts/write_document.py"


rule draw_trajectory:
    """Decoded against true movement in a stretch of a session's test part."""
    input:
        predictions=ask(plan.trajectory_inputs),
    output:
        pdf="figures/trajectory_{session}.pdf",
        png=report(
            "figures/trajectory_{session}.png",
            category="Figures",
            labels={"figure": "trajectory", "session": "{session}"},
            caption="../report/trajectory.rst",
        ),
        csv="figures/trajectory_{session}.csv",
    log:
        "logs/figures/trajectory_{session}.log",
    benchmark:
        "logs/figures/trajectory_{session}.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        trajectory=plan.trajectory_spec(),
        source=run.source,
        code=plan.code("draw_trajectory"),
    script:
        "../scripts/draw_trajectory.py"


rule draw_figure:
    """A figure of the results of all systems that stand in a table."""
    input:
        metrics=plan.evaluations(plan.tabled_systems()),
        realtime=plan.evaluations(plan.tabled_systems(), "realtime.json"),
    output:
        pdf="figures/{figure}.pdf",
        png=report(
            "figures/{figure}.png",
            category="Figures",
            labels={"figure": "{figure}"},
            caption="../report/figure.rst",
        ),
        csv="figures/{figure}.csv",
    log:
        "logs/figures/{figure}.log",
    benchmark:
        "logs/figures/{figure}.tsv"
    wildcard_constraints:
        figure="r2_by_session|pareto",
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        systems=lambda wildcards: plan.systems_spec(plan.tabled_systems()),
        code=plan.code("draw_figure"),
    script:
        "../scripts/draw_figure.py"


rule draw_buffers:
    """Frames that streaming keeps (figure 3); computed, no data."""
    output:
        pdf="figures/buffers.pdf",
        png=report(
            "figures/buffers.png",
            category="Figures",
            labels={"figure": "buffers"},
            caption="../report/buffers.rst",
        ),
        csv="figures/buffers.csv",
    log:
        "logs/figures/buffers.log",
    benchmark:
        "logs/figures/buffers.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        systems=lambda wildcards: plan.systems_spec(plan.convolutional_systems()),
        code=plan.code("draw_buffers"),
    script:
        "../scripts/draw_buffers.py"


rule draw_latency:
    """Latency against kernel length (figure 4); computed, no data."""
    output:
        pdf="figures/latency.pdf",
        png=report(
            "figures/latency.png",
            category="Figures",
            labels={"figure": "latency"},
            caption="../report/latency.rst",
        ),
        csv="figures/latency.csv",
    log:
        "logs/figures/latency.log",
    benchmark:
        "logs/figures/latency.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        code=plan.code("draw_latency"),
    script:
        "../scripts/draw_latency.py"


rule write_metrics:
    """All tables in one file, for `dvc metrics` (docs/versioned-data.md)."""
    input:
        tables=lambda wildcards: expand(
            "paper_tables/{table}.csv", table=plan.compared_tables()
        ),
    output:
        metrics="results/metrics.json",
    log:
        "logs/metrics.log",
    benchmark:
        "logs/metrics.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(500),
        runtime=grows(5),
    params:
        code=plan.code("write_metrics"),
    script:
        "../scripts/write_metrics.py"


rule write_config:
    output:
        config="results/config.yaml",
        html=report(
            "results/config.html",
            category="Configuration",
            caption="../report/config.rst",
            labels={"file": "configuration of this run"},
        ),
    log:
        "logs/config.log",
    benchmark:
        "logs/config.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(500),
        runtime=grows(5),
    params:
        config=ask(plan.config_spec),  # a function: braces in texts are no wildcards
        code=plan.code("write_config"),
    script:
        "../scripts/write_config.py"


rule tables:
    input:
        expand(
            "paper_tables/{table}.{type}",
            table=plan.written_tables(),
            type=["tex", "csv", "md"],
        ),
        rules.write_document.output,


rule figures:
    input:
        expand(
            "figures/{figure}.{type}",
            figure=[
                *expand("trajectory_{session}", session=run.sessions),
                "r2_by_session",
                "pareto",
                "buffers",
                "latency",
            ],
            type=["pdf", "png", "csv"],
        ),
