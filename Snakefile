"""The door to the workflow: `snakemake` called here finds it. All else is in workflow/."""


include: "workflow/Snakefile"


# That of an included file does not count.
workflow.default_target = "paper"
