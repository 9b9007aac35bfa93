"""Tables, figures and documents: what the registry of spikereach.reporting lists."""

from spikereach.workflow.reports import Reports

reports = Reports(plan)
TABLE = [f"paper_tables/{{name}}.{kind}" for kind in ("tex", "csv", "md")]
FIGURE = [f"figures/{{name}}.{kind}" for kind in ("pdf", "png", "csv")]


rule write_table:
    input:
        unpack(ask(reports.inputs, kind="tables")),
    output:
        tex="paper_tables/{name}.tex",
        html=report(
            "paper_tables/{name}.html",
            category="Tables",
            labels=ask(reports.labels, kind="tables"),
            caption="../report/result.rst",
        ),
        csv="paper_tables/{name}.csv",
        md="paper_tables/{name}.md",
    log:
        "logs/paper_tables/{name}.log",
    benchmark:
        "logs/paper_tables/{name}.tsv"
    wildcard_constraints:
        name=r"(?!all\.)[A-Za-z0-9][A-Za-z0-9_.\-]*",
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        job=ask(reports.job, kind="tables"),
    script:
        "../scripts/report.py"


use rule write_table as draw_figure with:
    input:
        unpack(ask(reports.inputs, kind="figures")),
    output:
        pdf="figures/{name}.pdf",
        png=report(
            "figures/{name}.png",
            category="Figures",
            labels=ask(reports.labels, kind="figures"),
            caption="../report/result.rst",
        ),
        csv="figures/{name}.csv",
    log:
        "logs/figures/{name}.log",
    benchmark:
        "logs/figures/{name}.tsv"
    params:
        job=ask(reports.job, kind="figures"),


use rule write_table as write_document with:
    # All tables in LaTeX, all their numbers, what searches found.
    input:
        unpack(ask(reports.inputs, kind="documents")),
    output:
        "{name}.{type}",
    log:
        "logs/{name}.{type}.log",
    benchmark:
        "logs/{name}.{type}.tsv"
    wildcard_constraints:
        name=r"paper_tables/all(?=\.tex)|results/metrics(?=\.json)|results/search/[^/]+/(?:best|frontier)(?=\.yaml)",
        type="tex|json|yaml",
    params:
        job=ask(reports.job, kind="documents"),


use rule write_table as write_config with:
    input:
        [],
    output:
        yaml="results/config.yaml",
        html=report(
            "results/config.html",
            category="Configuration",
            labels={"file": "configuration of this run"},
            caption="../report/result.rst",
        ),
    log:
        "logs/config.log",
    benchmark:
        "logs/config.tsv"
    params:
        job=ask(reports.job, kind="documents", name="results/config"),


rule tables:
    input:
        expand(TABLE, name=reports.written()),
        "paper_tables/all.tex",


rule figures:
    input:
        expand(FIGURE, name=reports.drawn()),


rule ablations:
    """All ablations, figures and tables."""
    input:
        expand(TABLE + FIGURE, name=reports.ablations()),
