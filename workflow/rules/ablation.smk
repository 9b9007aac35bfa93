"""Ablations: systems of the configuration, compared in a figure and a table."""


def ablation_steps(ablation):
    """Label -> system."""
    steps = {
        "cortex": run.cortex_ablation,
        "compression": run.compression_ablation,
    }[ablation]
    if not steps:
        raise WorkflowError(f"{ablation}_ablation: null in this configuration")
    return steps


def ablation_sessions(ablation):
    """Those with all cortex areas that its systems read."""
    if ablation != "cortex":
        return run.sessions
    areas = {
        area
        for name in ablation_steps(ablation).values()
        for area in get_system(name).areas
    }
    return [name for name in run.sessions if areas <= get_session(name).areas.keys()]


def ablation_results(wildcards):
    sessions = ablation_sessions(wildcards.ablation)
    if not sessions:
        raise WorkflowError(
            f"{wildcards.ablation}_ablation: none of the sessions has all the cortex areas"
        )
    return expand(
        "results/evaluate/{system}/{session}/seed{seed}/metrics.json",
        system=dict.fromkeys(ablation_steps(wildcards.ablation).values()),
        session=sessions,
        seed=run.seeds,
    )


def ablation_spec(wildcards):
    steps = ablation_steps(wildcards.ablation)
    systems = [
        [name, get_system(name).model_dump(mode="json")] for name in steps.values()
    ]
    return json.dumps([steps, systems])  # in the order of the configuration


def made_ablations():
    """Ablations that this configuration asks for and has sessions for."""
    wanted = {
        "cortex": run.cortex_ablation,
        "compression": run.compression_ablation,
    }
    return [name for name, steps in wanted.items() if steps and ablation_sessions(name)]


ruleorder: write_ablation > write_table


rule write_ablation:
    input:
        ablation_results,
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
        mem_mb=1000,
        runtime=10,
    params:
        spec=ablation_spec,
        code=code("write_ablation"),
    script:
        "../scripts/write_ablation.py"


rule ablations:
    """All ablations, figures and tables."""
    input:
        expand(
            "figures/{ablation}_ablation.{type}",
            ablation=made_ablations(),
            type=["pdf", "png", "csv"],
        ),
        expand(
            "paper_tables/{ablation}_ablation.{type}",
            ablation=made_ablations(),
            type=["tex", "csv", "md"],
        ),
