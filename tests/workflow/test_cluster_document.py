"""docs/cluster.md: its commands are understood, its figures are those of the code."""

import re
import subprocess

import pytest

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


@pytest.mark.slow
def test_its_commands_are_understood(document, checkout):
    """As dry runs of one training, which take less time than those of the paper."""
    commands = markdown.commands(document)
    assert len(commands) > 4
    for command in commands:
        words = command.replace("\\\n", " ").strip()
        assert words.startswith("snakemake ")
        assert words.count(" paper") == 1
        words = words.replace(" paper", f" {TRAINING}").removeprefix("snakemake ")
        arguments = subprocess.run(
            ["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        done = checkout.snakemake(*arguments, "--dry-run", overlay=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        assert "train_decoder" in done.stdout


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


@pytest.mark.parametrize("name", ["MB", "SECONDS_PER_MILLION"])
def test_constants_stand_in_the_text(document, name):
    for value in getattr(demand, name).values():
        assert re.search(rf"\b{value:g}\b", document.read_text()) or value == 2.0
