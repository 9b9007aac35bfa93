"""Faults of the machine around a run: the message is clear, and nothing that was made is harmed."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml

from session_files import random_session
from spikereach.models import tensorfile

WIENER = "results/train/Wiener/synthetic_indy_1/seed0/checkpoint.safetensors"
TRAINED = "results/train/RTnet/synthetic_indy_1/seed0/checkpoint.safetensors"
BINNED = "data/binned/synthetic_indy_1.h5"
PROMPT_S = 30
"""From SIGTERM to the end of all: what SLURM waits by default before it kills."""

# Some seconds of training, so that there is time for something to happen.
LONG = """
systems:
  RTnet:
    training: {finetune: {epochs: 300, patience: null}}
"""


def wait_for(condition, process, timeout_s=120):
    """Until a condition holds; fails when the process ends before."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def resume_files(checkout):
    return list(checkout.run_folder.glob(".cache/resume/*/training.safetensors"))


def epochs(checkout):
    """Epochs in the resume file of the one training under way."""
    (path,) = resume_files(checkout)
    return tensorfile.read(path, "resume file")[1]["epoch"]


def errors(output):
    return [line for line in output.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def trained(make_checkout, tmp_path_factory):
    """A run folder with a trained Wiener filter."""
    checkout = make_checkout(tmp_path_factory.mktemp("trained"))
    done = checkout.snakemake(WIENER, "--cores", "1")
    assert done.returncode == 0, done.stdout
    return checkout.run_folder


@pytest.fixture
def begun(checkout, trained):
    """A checkout whose run folder has it."""
    shutil.copytree(trained, checkout.run_folder)
    return checkout


def append(checkout, text):
    overlay = checkout.folder / "more.yaml"
    overlay.write_text(text)
    checkout.overlays.append(overlay)


# ---- Two at a time ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_snakemake_is_refused(checkout):
    with checkout.started(WIENER, "--cores", "1") as first:
        locks = checkout.run_folder / ".snakemake" / "locks"
        wait_for(lambda: any(locks.glob("*.lock")), first)
        second = checkout.snakemake(WIENER, "--cores", "1")
        assert second.returncode != 0
        assert "Directory cannot be locked" in second.stdout
        assert str(checkout.run_folder) in second.stdout
        assert first.poll() is None, "the first one had not ended before"
        output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output
    assert (checkout.run_folder / WIENER).exists()
    assert not any(locks.glob("*.lock"))


def test_a_lock_that_was_left_on_another_machine(checkout):
    locks = checkout.run_folder / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text(BINNED + "\n")
    (locks.parent / "holder").write_text("elsewhere")
    refused = checkout.snakemake(BINNED, "--cores", "1")
    assert refused.returncode != 0
    assert "--unlock" in refused.stdout
    assert checkout.snakemake("--unlock").returncode == 0
    assert not any(locks.glob("*.lock"))


# ---- Signals -------------------------------------------------------------------------------


def all_end_soon(process):
    """Waits until the last process that has the output of Snakemake has ended."""
    begun = time.monotonic()
    process.communicate()
    assert time.monotonic() - begun < PROMPT_S


@pytest.mark.slow
@pytest.mark.long
def test_training_outlives_being_stopped_and_a_damaged_file(checkout):
    """Snakemake alone killed, SIGTERM to all, and what was kept damaged in the end.

    That the result is the same to the byte is shown in test_resume.py and test_kills.py.
    """
    append(checkout, LONG)
    seen = 0

    def advanced():
        return bool(resume_files(checkout)) and epochs(checkout) > seen

    with checkout.started(TRAINED, "--cores", "1") as process:
        wait_for(advanced, process)
        process.kill()  # its job is told by the kernel
        all_end_soon(process)
    assert epochs(checkout) > seen
    seen = epochs(checkout)

    with checkout.started(TRAINED, "--cores", "1") as process:
        wait_for(advanced, process)
        os.killpg(process.pid, signal.SIGTERM)  # as a scheduler does
        all_end_soon(process)
        assert process.returncode != 0
    log = checkout.run_folder / "logs" / "train" / "RTnet" / "synthetic_indy_1" / "seed0.log"
    assert "stopped by SIGTERM; run again to continue" in log.read_text()
    assert epochs(checkout) > seen, "the second run went on where the first one stopped"
    assert not (checkout.run_folder / TRAINED).exists()

    (path,) = resume_files(checkout)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = checkout.snakemake(TRAINED, "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert (checkout.run_folder / TRAINED).exists()
    message = re.search("training starts anew: .*", log.read_text())[0]
    assert f"{path.parent.name}/{path.name} is damaged" in message


# ---- Folders that cannot be written --------------------------------------------------------


@pytest.fixture
def read_only(checkout):
    """Makes a folder read-only, for root too; undone at the end."""
    mounted = []

    def make(folder):
        folder.mkdir(parents=True, exist_ok=True)
        bind = ["mount", "--bind", str(folder), str(folder)]
        if os.geteuid() != 0 or subprocess.run(bind, capture_output=True).returncode != 0:
            pytest.skip("a folder that root cannot write needs a mount, and that needs root")
        mounted.append(folder)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_run_folder(checkout, read_only):
    read_only(checkout.run_folder)
    done = checkout.snakemake(BINNED, "--cores", "1")
    assert done.returncode != 0
    (error,) = errors(done.stdout)
    assert f"{checkout.run_folder} cannot be written (Read-only file system)" in error
    assert "--directory" in error
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_read_only_results_folder(begun, read_only):
    before = (begun.run_folder / WIENER).read_bytes()
    read_only(begun.run_folder / "results")
    for target, expected in {TRAINED: "Read-only file system", WIENER: "Write-protected"}.items():
        done = begun.snakemake(target, "--cores", "1", "--forcerun", "train_decoder")
        assert done.returncode != 0
        assert expected in done.stdout
        assert "results/train/" in done.stdout
        assert "Traceback" not in done.stdout
    assert (begun.run_folder / WIENER).read_bytes() == before


def test_a_file_in_place_of_the_results_folder(checkout):
    checkout.run_folder.mkdir()
    (checkout.run_folder / "data").write_text("a file")
    done = checkout.snakemake(BINNED, "--cores", "1")
    assert done.returncode != 0
    assert "data" in done.stdout
    assert "Not a directory" in done.stdout or "File exists" in done.stdout
    assert (checkout.run_folder / "data").read_text() == "a file"


# ---- A clock that moved ----------------------------------------------------------------------


def date(folder, seconds):
    """Move the modification times of all files in a folder."""
    for path in folder.rglob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime + seconds, status.st_mtime + seconds))


DAY_S = 86_400


@pytest.mark.long
def test_a_clock_that_moved(begun):
    before = (begun.run_folder / WIENER).read_bytes()
    folders = [begun.run_folder / name for name in ("data", "results")]
    date(folders[0], 800 * DAY_S)  # made in the future, and what rests on it long ago
    date(folders[1], -800 * DAY_S)
    assert begun.planned(WIENER) == {}

    # The clock was wrong while the data were made, and is right again.
    done = begun.snakemake(TRAINED, "--cores", "1")
    assert done.returncode != 0
    (error,) = errors(done.stdout)
    assert error.startswith(f"error: {BINNED} is dated ")
    remedy = re.search(r"with (find .*)", error)[1]
    subprocess.run(remedy, shell=True, cwd=begun.run_folder, check=True)
    done = begun.snakemake(TRAINED, WIENER, "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert "1 of 1 steps (100%) done" in done.stdout
    assert (begun.run_folder / TRAINED).exists()
    assert (begun.run_folder / WIENER).read_bytes() == before


@pytest.mark.slow
def test_a_recording_put_back_to_an_older_one_is_seen(checkout):
    recordings = checkout.folder / "recordings"
    recordings.mkdir()
    recording = random_session(recordings / "own.mat", channels=3, steps=2000)
    append(
        checkout,
        yaml.safe_dump(
            {
                "source": "local",
                "folder": str(recordings),
                "catalogue": {"own": {"monkey": "own", "areas": {"M1": 3}}},
                "sessions": ["own"],
                "pretrain_sessions": {"synthetic_indy": ["synthetic_indy_1"]},
            }
        ),
    )
    own = "data/binned/own.h5"
    done = checkout.snakemake(own, "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert checkout.planned(own) == {}
    with recording.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, edited")
    os.utime(recording, (0, 0))
    assert set(checkout.planned(own)) == {"check_session", "bin_session"}
