"""The hyperparameter search as a figure, and its best trial as a system."""

from spikereach.workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    import yaml

    from spikereach.config import Search, System
    from spikereach.reporting import drawing, search
    from spikereach.reporting.render import write_text
    from spikereach.workflow.search import importance

    settings, entry = json.loads(snakemake.params.spec)
    settings = Search.model_validate(settings)
    trials = [json.loads(Path(path).read_text()) for path in snakemake.input.trials]
    plot = search.plot(
        trials, settings, importance(trials, settings), source=snakemake.params.source
    )
    drawing.write(plot, Path(snakemake.output.pdf).parent)
    found = search.overlay(trials, settings, System.model_validate(entry))
    text = search.about(search.best(trials)) + yaml.safe_dump(found, sort_keys=False)
    write_text(Path(snakemake.output.best), text)
