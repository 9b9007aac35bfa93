"""What the Snakemake workflow is made of, without Snakemake."""
