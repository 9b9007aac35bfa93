"""Hyperparameter search: a job per trial. Trials share results/search/journal.log.

The journal is no output, because every trial adds to it; a study in it bears the digest of all
that its trials depend on.
"""


def get_search():
    if run.search is None:
        raise WorkflowError("search: null in this configuration")
    return run.search


def trials(numbers):
    return [f"results/search/trial{number}.json" for number in numbers]


def earlier_trials(wildcards):
    """The latest whose outcomes a trial must know; these in turn wait for all before them."""
    number, parallel = int(wildcards.number), get_search().parallel
    if number >= get_search().trials:
        raise WorkflowError(f"search.trials: there is no trial {number}")
    return trials(range(max(0, number - 2 * parallel + 1), number - parallel + 1))


def trial_spec(wildcards):
    """What outcomes depend on: not the number of trials, so that more can follow."""
    search = get_search()
    return canonical(
        [
            search.model_dump(mode="json", exclude={"trials"}),
            get_system(search.system).model_dump(mode="json", exclude={"published"}),
        ]
    )


def search_spec(wildcards):
    """The same, and the parameters in the order of the configuration."""
    search = get_search()
    system = get_system(search.system)
    return json.dumps([search.model_dump(mode="json"), system.model_dump(mode="json")])


rule run_trial:
    input:
        binned=lambda wildcards: binned(get_search().session),
        earlier=earlier_trials,
    output:
        trial="results/search/trial{number}.json",
    log:
        "logs/search/trial{number}.log",
    benchmark:
        "logs/search/trial{number}.tsv"
    wildcard_constraints:
        number=r"\d+",
    priority: lambda wildcards: -int(wildcards.number)
    conda:
        "../../envs/spikereach.yaml"
    threads: run.threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=GPU,
    params:
        spec=trial_spec,
        threads=run.threads,
        code=lambda wildcards: code("run_trial", get_search().system),
    script:
        "../scripts/run_trial.py"


rule draw_search:
    """Figure of all trials, and the best one as a system (figure 2)."""
    input:
        trials=lambda wildcards: trials(range(get_search().trials)),
    output:
        pdf="figures/search.pdf",
        png=report(
            "figures/search.png",
            category="Figures",
            labels={"figure": "search"},
            caption="../report/search.rst",
        ),
        csv="figures/search.csv",
        best="results/search/best.yaml",
    log:
        "logs/figures/search.log",
    benchmark:
        "logs/figures/search.tsv"
    conda:
        "../../envs/spikereach.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        spec=search_spec,
        source=run.source,
        code=code("draw_search"),
    script:
        "../scripts/draw_search.py"


rule search:
    """The hyperparameter search, where the configuration has one."""
    input:
        (
            expand("figures/search.{type}", type=["pdf", "png", "csv"])
            if run.search
            else []
        ),
