"""A run does the same whatever is set, and stands around, where it is started."""

import os
import time

import pytest

pytestmark = pytest.mark.slow

TARGETS = ("figures/latency.pdf", "paper_tables/hyperparameters.md")
"""Made without recordings."""


@pytest.mark.long
@pytest.mark.parametrize("locale_variables", ["EUC-JP"], indirect=True)
def test_a_run_in_a_notebook_and_another_locale(checkout, locale_variables, monkeypatch):
    """And no job is repeated without them."""
    with monkeypatch.context() as patch:
        for name, value in locale_variables.items():
            patch.setenv(name, value)
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        done = checkout.snakemake(*TARGETS, "--cores", "2")
        assert done.returncode == 0, done.stdout
    assert checkout.planned(*TARGETS) == {}
    assert "–" in (checkout.run_folder / "paper_tables" / "hyperparameters.md").read_text("utf-8")


@pytest.mark.long
def test_a_driver_that_hangs(checkout, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/asked\nsleep 600\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    begun = time.monotonic()
    done = checkout.snakemake("figures/latency.pdf", "--cores", "1", "--config", "device=auto")
    assert done.returncode == 0, done.stdout
    assert time.monotonic() - begun < 300
    assert "nvidia-smi -L gave no answer within 20 s" in done.stdout
    assert len((tmp_path / "asked").read_text("utf-8").split()) == 1, "no job asks again"


@pytest.mark.long
def test_no_training_begins_before_there_is_a_place_on_a_gpu(checkout, monkeypatch):
    """Without a limit from the user; a pretended GPU, on which trainings fall back to the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    results = "results/train/{}/synthetic_indy_1/seed0/checkpoint.safetensors"
    wanted = [results.format(name) for name in ("Wiener", "tinyRSNN", "RTnet")]
    done = checkout.snakemake(*wanted, "--cores", "6", "--config", "device=auto")
    assert done.returncode == 0, done.stdout
    logs = {file: (checkout.run_folder / file).read_text() for file in map(_log_of, wanted)}
    alone = logs.pop(_log_of(wanted[0]))
    assert "GPU" not in alone, "a closed form"
    assert all(text.startswith("GPU 0") for text in logs.values()), "no word of waiting before"


def _log_of(checkpoint):
    return checkpoint.replace("results/", "logs/").replace("/checkpoint.safetensors", ".log")
