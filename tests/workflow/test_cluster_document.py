"""docs/cluster.md: its commands are understood, its figures are those of the code."""

import re
import subprocess

import pytest
import yaml
from snakemake import cli

import markdown
from spikereach import config
from spikereach.workflow import demand

BINNED_MB = 9.3
"""Of the sessions measured."""

TRAINING = "results/train/SNN2/loco_20170210_03/seed0/checkpoint.safetensors"


@pytest.fixture(scope="module")
def document(repository):
    return repository / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def trainings(document):
    """System, sessions, batch, window, measured MB, asked MB."""
    row = r"^\| ([\w\-]+)(?:, (\d+) sessions)? \| (\d+) x (\d+) \| (\d+) \| (\d+) \|$"
    found = re.findall(row, document.read_text(), re.M)
    assert len(found) > 10
    return [(name, *(int(each or 1) for each in numbers)) for name, *numbers in found]


def arguments(command):
    """Of a `snakemake` command, as the shell hands them over."""
    words = command.replace("\\\n", " ").strip().removeprefix("snakemake ")
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_its_commands_are_understood(document, repository, monkeypatch):
    """By Snakemake's own reading of them and of the profiles, and by the configuration."""
    monkeypatch.chdir(repository)
    commands = markdown.commands(document)
    assert len(commands) > 4
    for command in commands:
        assert command.startswith("snakemake ")
        _, found = cli.parse_args(arguments(command))
        assert found.targets == ["paper"]
        assert found.executor == ("slurm" if "profiles/slurm" in command else None)
        keys = yaml.safe_load((repository / "config.yaml").read_text())
        config.validate(config.overlay(keys, cli.parse_config(found.config)))


@pytest.mark.slow
def test_its_longest_command_plans_a_training(document, checkout):
    """As a dry run of one training, which takes less time than that of the paper."""
    command = max(markdown.commands(document), key=len)
    words = [TRAINING if word == "paper" else word for word in arguments(command)]
    done = checkout.snakemake(*words, "--dry-run", overlay=False)
    assert done.returncode == 0, done.stdout
    assert "train_decoder" in done.stdout
    assert "slurm_partition=gpu" in done.stdout


def test_its_script_is_sound(document, tmp_path):
    script = re.search(r"```bash\n(.*?)```", document.read_text(), re.S)[1]
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_trainings_ask_for_what_the_table_says(trainings, repository):
    systems = config.read(repository / "config.yaml").systems
    for name, sessions, batch, window, measured, asked in trainings:
        training = systems[name].training
        stage = training.finetune if sessions == 1 else training.pretrain
        assert stage.window == window
        if sessions == 1:
            assert stage.batch == batch
        stage = stage.model_copy(update={"batch": batch})
        assert demand.memory_mb([stage], sessions * BINNED_MB, "cpu") == asked
        assert 1.2 * measured < asked


def test_constants_are_those_of_the_text(document):
    text = " ".join(document.read_text().split())
    mb, seconds = demand.MB, demand.SECONDS_PER_MILLION
    batch = f"{demand.MB_PER_MB} per MB + {demand.KB_PER_STEP['cpu']:g} per 1000 window steps"
    assert f"a ({mb['cpu']} + {batch} of a batch)" in text
    assert f"first at most {demand.LIMIT_MIN}" in text
    assert f"a ({demand.SETUP_MIN} + projection)" in text
    assert f"{seconds['cpu']:g} is taken" in text
    assert "a twentieth of the time is assumed there" in text
    assert seconds["cuda"] == seconds["cpu"] / 20
    assert f"{mb['cuda']} MB of host memory instead of {mb['cpu']} and the batch" in text
    assert demand.KB_PER_STEP["cuda"] == 0
