"""A small run of all ablations."""

import csv

import pytest
import yaml

pytestmark = pytest.mark.slow

BRIEF = {"epochs": 1, "batch": 4, "window": 128, "stride": 32, "updates_per_epoch": 2}
RETRAIN = BRIEF | {
    "optimiser": "adam", "learning_rate": 1.0e-4, "schedule": "constant", "loss": "mse",
}  # fmt: skip
SIZES = {"conv_channels": 2, "lif_layers": 1, "lif_units": 4, "kernel": 3}
CORTEX = {"M1": "BMnet-M1", "post-LIF": "BMnet-post"}
COMPRESSION = {"float32": "RTnet-float32", "weights": "RTnet-weights"}
LATENCY = {"0": "RTnet-causal-0", "centred": "RTnet-centred"}
ABLATIONS = {"cortex": CORTEX, "compression": COMPRESSION, "latency": LATENCY}


def small(checkout):
    """The tiny configuration on a session of both areas, with all ablations."""
    content = yaml.safe_load(checkout.overlay.read_text())
    content |= {
        "sessions": ["synthetic_loco_1"],
        "pretrain_sessions": {},
        "ablations": {
            name: [{"label": label, "system": system} for label, system in each.items()]
            for name, each in ABLATIONS.items()
        },
    }
    training = {"pretrain": None, "finetune": BRIEF}
    for name in ("RTnet", *CORTEX.values(), *LATENCY.values()):
        content["systems"][name] = {"sizes": SIZES, "training": training, "compression": []}
    step = {"kind": "fixed_point", "weight_bits": [1, 7], "buffer_bits": None, "retrain": RETRAIN}
    content["systems"]["RTnet-weights"] = {"compression": [step]}
    checkout.overlay.write_text(yaml.safe_dump(content))


@pytest.mark.long
def test_all_ablations(checkout):
    """Whole; with one variant each they are made in test_report.py."""
    small(checkout)
    done = checkout.snakemake("ablations", "--cores", "2")
    assert done.returncode == 0, done.stdout
    run = checkout.run_folder
    for name, steps in ABLATIONS.items():
        for path in (f"figures/{name}_ablation.pdf", f"figures/{name}_ablation.png"):
            assert (run / path).stat().st_size > 0
        tex = (run / f"paper_tables/{name}_ablation.tex").read_text()
        positions = [tex.index(f"{label} &") for label in steps]
        assert positions == sorted(positions)
        for folder in ("figures", "paper_tables"):
            rows = list(csv.DictReader((run / folder / f"{name}_ablation.csv").open()))
            assert [row["system"] for row in rows] == list(steps.values())
    rows = csv.DictReader((run / "figures" / "cortex_ablation.csv").open())
    assert {row["session"] for row in rows} == {"synthetic_loco_1"}
