"""A training that is killed and run again ends with the bytes of an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

# Trains and compresses a small spiking decoder; with WHERE and COUNT the process kills itself,
# as kill -9 would, at the COUNT-th update or while it writes a file for the COUNT-th time.
SCRIPT = """
import os, signal, sys
from pathlib import Path

from training_cases import rsnn, run_options, session, stage

from spikereach.compression import compress
from spikereach.config import Half, Prune
from spikereach.data.windows import Windows
from spikereach.models.checkpoint import save
from spikereach.training.fit import fit

folder, where, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def killed(function):
    def call(*arguments, **options):
        killed.calls += 1
        if killed.calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    killed.calls = 0
    return call


if where == "update":
    Windows.batch = killed(Windows.batch)
elif where == "write":  # the file is written but not yet in its place
    os.fsync = killed(os.fsync)

sessions = [session(steps=800)]
options = run_options(folder, resume=folder / "train.safetensors")
names = {"system_name": "tiny", "dataset": "indy_test", "stage": "finetune"}
trained, history = fit(rsnn(optimiser="smorms3"), sessions, **names, **options)
steps = (
    Prune(
        kind="prune", start=0.4, step=0.1, fine_step=0.05, stop=0.5, max_drop=0.9,
        retrain=stage(epochs=2),
    ),
    Half(kind="half"),
)
options = run_options(folder, resume=folder / "compress")
entry = trained.system.model_copy(update={"compression": steps})
compressed, more = compress(trained, sessions, entry, system_name="small", **options)
history.drop(columns="seconds").to_csv(folder / "train.csv", index=False)
more.drop(columns="seconds").to_csv(folder / "compress.csv", index=False)
save(trained, folder / "trained.safetensors")
save(compressed, folder / "compressed.safetensors")
"""

RESULTS = ("trained.safetensors", "compressed.safetensors", "train.csv", "compress.csv")


def start(folder: Path, where: str = "nowhere", count: int = 0) -> subprocess.Popen:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), where, str(count)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, *arguments, code: int = 0) -> str:
    process = start(folder, *arguments)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return errors


def continued(errors: str) -> list[str]:
    """What a training said of where it goes on."""
    return [line for line in errors.splitlines() if ": continued after" in line]


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    finish(folder)
    return results(folder)


def test_kill_in_training_then_while_writing_in_compression(tmp_path, uninterrupted):
    # 15 windows are 2 updates per epoch: 3 epochs of training, then 2 x 2 of retraining.
    update, write = random.randint(1, 6), random.randint(1, 4)
    print(f"killed at update {update}, then at write {write}")
    finish(tmp_path, "update", update, code=-signal.SIGKILL)
    # State is saved after every epoch, that is, after every second update.
    told = [f"tiny on indy_test, seed 0: continued after epoch {(update - 1) // 2}"]
    assert continued(finish(tmp_path, "write", write, code=-signal.SIGKILL)) == told * (update > 2)
    assert not (tmp_path / "trained.safetensors").exists()
    finish(tmp_path)
    assert results(tmp_path) == uninterrupted


def test_sigterm_from_outside_saves_and_exits(tmp_path, uninterrupted):
    process = start(tmp_path)
    resume = tmp_path / "train.safetensors"
    while not resume.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    # Between two trainings nobody catches the signal, and Python's own rule applies.
    assert process.returncode in (143, -signal.SIGTERM), errors
    assert resume.exists()
    told = finish(tmp_path)
    assert ": continued after epoch" in told or process.returncode != 143
    assert results(tmp_path) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.long)])
def test_kill_from_outside_at_any_time(tmp_path, uninterrupted, rounds):
    timed = tmp_path / "timed"
    timed.mkdir()
    begun = time.monotonic()
    finish(timed)
    whole = time.monotonic() - begun
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(folder)
        time.sleep(random.uniform(0.5, 1.0) * whole)
        process.kill()
        process.communicate(timeout=60)
        finish(folder)
        assert results(folder) == uninterrupted
