"""The hyperparameter search in the workflow: its jobs, a kill, and more trials later."""

import json
import os
import signal
import time

import pytest
import yaml

pytestmark = pytest.mark.slow

SESSION = "synthetic_indy_1"


def small(checkout):
    content = yaml.safe_load(checkout.overlay.read_text())
    space = {
        "N_C": {"low": 2, "high": 6, "step": 2},
        "k": {"low": 3, "high": 5},
        "N_L": {"high": 2},
        "N_LIF": {"low": 4, "high": 12},
        "L_seq": {"low": 128, "high": 256, "step": 64},
    }
    one = {"session": SESSION, "trials": 2, "parallel": 2, "startup_trials": 1}
    units = {"paths": ["sizes.hidden"], "low": 2, "high": 8}
    several = one | {"seed": 0, "warmup_epochs": 0, "system": "tinyRSNN", "space": {"units": units}}
    several["objectives"] = ["r2", "bytes"]
    content["search"] = {"RTnet": one | {"space": space}, "small": several}
    finetune = content["systems"]["RTnet"]["training"]["finetune"]
    finetune |= {"epochs": 3, "updates_per_epoch": 20}
    checkout.overlay.write_text(yaml.safe_dump(content))


def outcomes(checkout, trials):
    folder = checkout.run_folder / "results" / "search" / "RTnet"
    return [json.loads((folder / f"trial{number}.json").read_text()) for number in range(trials)]


@pytest.mark.long
def test_killed_search_goes_on_and_more_trials_may_follow(checkout):
    small(checkout)
    resume = checkout.run_folder / ".cache" / "resume"
    with checkout.started("figures/search_RTnet.pdf", "--cores", "2") as process:
        while not list(resume.glob("*/training.safetensors")) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert list(resume.glob("*/training.safetensors")), "killed while a trial was running"
    assert checkout.snakemake("--unlock").returncode == 0
    done = checkout.snakemake("search", "--cores", "2", "--rerun-incomplete")
    assert done.returncode == 0, done.stdout
    assert not list(resume.iterdir())
    for kind in ("pdf", "png", "csv"):
        assert (checkout.run_folder / "figures" / f"search_RTnet.{kind}").stat().st_size > 0
    found = outcomes(checkout, 2)
    assert [trial["number"] for trial in found] == [0, 1]

    results = checkout.run_folder / "results" / "search"
    target = f"results/evaluate/RTnet-best/{SESSION}/seed0/metrics.json"
    laid = ("--configfile", checkout.overlay, results / "RTnet" / "best.yaml")
    planned = checkout.planned(target, *laid, overlay=False)
    assert planned["evaluate_decoder"][0] == target

    overlay = results / "small" / "frontier.yaml"
    assert (checkout.run_folder / "figures" / "search_small.pdf").stat().st_size > 0
    found = list(yaml.safe_load(overlay.read_text())["systems"])
    laid = ("--configfile", checkout.overlay, overlay)
    planned = checkout.planned("figures/frontier.pdf", *laid, overlay=False)
    made = {path.split("/")[2] for path in planned["evaluate_decoder"]}
    assert made == {"tinyRSNN", *found}

    text = checkout.overlay.read_text()
    assert text.count("trials: 2\n") == 2
    checkout.overlay.write_text(text.replace("trials: 2\n", "trials: 3\n"))
    more = [f"results/search/{name}/trial2.json" for name in ("RTnet", "small")]
    assert sorted(checkout.planned("search")["run_trial"]) == more
