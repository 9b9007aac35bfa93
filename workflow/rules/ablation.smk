"""Ablations: systems of the configuration, compared in a figure and a table."""


rule write_ablation:
    input:
        ask(plan.ablation_results),
    output:
        pdf="figures/{ablation}_ablation.pdf",
        png=report(
            "figures/{ablation}_ablation.png",
            category="Figures",
            labels={"figure": "{ablation}_ablation"},
            caption="../report/ablation.rst",
        ),
        figure="figures/{ablation}_ablation.csv",
        tex="paper_tables/{ablation}_ablation.tex",
        html=report(
            "paper_tables/{ablation}_ablation.html",
            category="Tables",
            labels={"table": "{ablation}_ablation"},
            caption="../report/ablation.rst",
        ),
        table="paper_tables/{ablation}_ablation.csv",
        md="paper_tables/{ablation}_ablation.md",
    log:
        "logs/figures/{ablation}_ablation.log",
    benchmark:
        "logs/figures/{ablation}_ablation.tsv"
    wildcard_constraints:
        ablation="cortex|compression",
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        spec=ask(plan.ablation_spec),
        code=plan.code("write_ablation"),
    script:
        "../scripts/write_ablation.py"


rule ablations:
    """All ablations, figures and tables."""
    input:
        expand(
            "figures/{ablation}_ablation.{type}",
            ablation=plan.made_ablations(),
            type=["pdf", "png", "csv"],
        ),
        expand(
            "paper_tables/{ablation}_ablation.{type}",
            ablation=plan.made_ablations(),
            type=["tex", "csv", "md"],
        ),
