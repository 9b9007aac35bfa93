"""From recordings to the paper's tables and figures. See README.md and docs/."""

from snakemake.utils import min_version

min_version("9.6")


configfile: f"{workflow.basedir}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/import.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/search.smk"


rule paper:
    """All tables and figures."""
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.ablations.input,
        rules.search.input,
        rules.write_config.output,
        rules.write_metrics.output,


onstart:
    run_folder.sign()
    forget_errors()


onerror:
    print_errors()
