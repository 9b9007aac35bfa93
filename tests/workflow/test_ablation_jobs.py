"""Ablations in the workflow: what each needs, and a small run of both."""

import csv
import re

import pytest
import yaml

pytestmark = pytest.mark.slow

BRIEF = {"epochs": 1, "batch": 4, "window": 128, "stride": 32, "updates_per_epoch": 2}
RETRAIN = BRIEF | {
    "optimiser": "adam", "learning_rate": 1.0e-4, "schedule": "constant", "loss": "mse",
}  # fmt: skip
SIZES = {"conv_channels": 2, "lif_layers": 1, "lif_units": 4, "kernel": 3}
CORTEX = {"M1": "BMnet-M1", "S1": "BMnet-S1", "post-LIF": "BMnet-post"}
COMPRESSION = {"float32": "RTnet-float32", "weights": "RTnet-weights"}


def small(checkout):
    """The tiny configuration on one session of each monkey, with both ablations."""
    content = yaml.safe_load(checkout.overlay.read_text())
    content |= {
        "sessions": ["synthetic_indy_1", "synthetic_loco_1"],
        "pretrain_sessions": {},
        "ablations": {
            name: [{"label": label, "system": system} for label, system in each.items()]
            for name, each in {"cortex": CORTEX, "compression": COMPRESSION}.items()
        },
    }
    training = {"pretrain": None, "finetune": BRIEF}
    for name in ("RTnet", *CORTEX.values()):
        content["systems"][name] = {"sizes": SIZES, "training": training, "compression": []}
    step = {"kind": "fixed_point", "weight_bits": [1, 7], "buffer_bits": None, "retrain": RETRAIN}
    content["systems"]["RTnet-float32"] = {"sizes": SIZES}
    content["systems"]["RTnet-weights"] = {"sizes": SIZES, "compression": [step]}
    checkout.overlay.write_text(yaml.safe_dump(content))


def test_cortex_ablation_needs_its_systems_and_loco_alone(checkout):
    planned = checkout.planned("figures/cortex_ablation.pdf", overlay=False)
    systems = {path.split("/")[2] for path in planned["evaluate_decoder"]}
    sessions = {path.split("/")[3] for path in planned["evaluate_decoder"]}
    assert systems == {"BMnet", "BMnet-M1", "BMnet-S1", "BMnet-pre", "BMnet-post"}
    assert sessions == {"loco_20170210_03", "loco_20170215_02", "loco_20170301_05"}


def test_compression_ablation_trains_one_system(checkout):
    planned = checkout.planned("paper_tables/compression_ablation.tex", overlay=False)
    assert {path.split("/")[2] for path in planned["train_decoder"]} == {"RTnet"}
    assert len({path.split("/")[2] for path in planned["evaluate_decoder"]}) == 8


def test_ablation_that_is_left_out_says_so(checkout):
    done = checkout.snakemake("figures/cortex_ablation.pdf", "--dry-run")
    assert done.returncode != 0
    assert "ablations.cortex lists no variants" in done.stdout


def test_demo_has_ablations_and_search_but_leaves_them_out(checkout, repository):
    demo = ("--configfile", checkout.folder / "workflow" / "presets" / "demo.yaml")
    targets = re.search(r"^TARGETS := (.*)$", (repository / "Makefile").read_text(), re.M)[1]
    planned = checkout.planned(*targets.split(), *demo, overlay=False)
    assert {"write_table", "write_document", "draw_figure", "write_config"} <= set(planned)
    made = {path for job in planned.values() for path in job}
    assert not any("ablation" in path or "search" in path for path in made)
    further = checkout.planned("ablations", "search", *demo, overlay=False)
    made = further["write_table"] + further["draw_figure"]
    assert len([path for path in made if "_ablation." in path]) == 14  # seven files each
    assert len(further["run_trial"]) == 16
    assert {path.split("/")[3] for path in further["evaluate_decoder"]} == {
        "synthetic_indy_1", "synthetic_loco_1",
    }  # fmt: skip


def test_both_ablations(checkout):
    small(checkout)
    done = checkout.snakemake("ablations", "--cores", "2")
    assert done.returncode == 0, done.stdout
    run = checkout.run_folder
    for name, steps in {"cortex": CORTEX, "compression": COMPRESSION}.items():
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
