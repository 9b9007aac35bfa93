"""A run of a few bytes, made by jobs as the workflow makes them: for tests of manifests."""

from pathlib import Path
from types import SimpleNamespace

from spikereach.workflow.manifest import FOLDER, SUFFIX, read, recorded

METRICS = "results/evaluate/RTnet/synthetic_indy_1/seed0/metrics.json"
REALTIME = "results/evaluate/RTnet/synthetic_indy_1/seed0/realtime.json"
CHECKPOINT = "results/train/RTnet/synthetic_indy_1/seed0/checkpoint.safetensors"
RAW = "data/raw/synthetic_indy_1.mat"
BINNED = "data/binned/synthetic_indy_1.h5"
TABLE = "paper_tables/coopt.csv"

CHAIN = {
    "fetch_session": ([], [RAW, "data/raw/synthetic_indy_1.md5"]),
    "bin_session": ([RAW, "data/raw/synthetic_indy_1.md5"], [BINNED]),
    "train_decoder": ([BINNED], [CHECKPOINT]),
    "evaluate_decoder": ([CHECKPOINT, BINNED], [METRICS, REALTIME]),
    "write_table": ([METRICS, REALTIME], [TABLE, "paper_tables/coopt.md"]),
    "write_ablation": ([METRICS], ["figures/c.pdf", "figures/c.csv", "paper_tables/c.csv"]),
}  # fmt: skip
"""Rule -> inputs and outputs."""


def snakemake(rule, inputs, outputs, **config):
    """What Snakemake hands to a script."""
    return SimpleNamespace(
        rule=rule,
        input=inputs,
        output=outputs,
        wildcards={"seed": "0"} if "seed0" in outputs[0] else {},
        params={"code": "12ab"},
        config={"source": "synthetic", "threads": 1, **config},
        resources={},
        log=[f"{rule}.log"],
        scriptdir="workflow/rules/../scripts",
    )


def write(rule, extra=""):
    """The work of a job: its outputs follow from its inputs."""
    inputs, outputs = CHAIN[rule]
    text = "".join(Path(path).read_text(encoding="utf-8") for path in inputs)
    for path in outputs:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(f"{path}{extra} of ({text[:40]})\n", encoding="utf-8")


def run_job(rule, extra="", **config):
    """Run one job of the chain in the working directory."""
    with recorded(snakemake(rule, *CHAIN[rule], **config)):
        write(rule, extra)


def run_all(**config):
    for rule in CHAIN:
        run_job(rule, **config)


def manifest_of(path, run=Path()):
    """The manifest that describes a file of a run, or None."""
    beside = (run / FOLDER / path).parent.glob(f"*{SUFFIX}")
    return next((found for found in map(read, beside) if path in found.outputs), None)


def files():
    """All files of the run, manifests among them."""
    found = [path for part in ("data", "results", "paper_tables", "figures", "manifests")
             for path in Path(part).rglob("*") if path.is_file()]  # fmt: skip
    return sorted(path.as_posix() for path in found)
