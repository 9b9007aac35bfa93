"""What a user sees when something is wrong: one clear message and a failing exit code."""

import contextlib
import os
import re
import subprocess

import pytest

METRICS = "results/evaluate/Wiener/synthetic_indy_1/seed0/metrics.json"


def test_paper_command_without_network(checkout):
    # Nothing listens on the discard port: the connection is refused, as without a network.
    checkout.edit("config.yaml", "https://zenodo.org/api", "http://127.0.0.1:9/api")
    target = "paper_tables/coopt.tex"
    done = checkout.snakemake("--cores", "8", target, overlay=False, directory=False)
    assert done.returncode != 0
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for part in (
        "indy_20160622_01.mat",  # the first session of the configuration
        "http://127.0.0.1:9/records/583331/files/indy_20160622_01.mat",
        "data/raw/indy_20160622_01.mat",
        "make demo",
    ):
        assert part in errors[0]
    assert done.stdout.count("Error in rule") == 1
    elapsed = re.search(r"Elapsed time: (\d+):(\d\d):(\d\d)", done.stdout)
    assert int(elapsed[1]) * 3600 + int(elapsed[2]) * 60 + int(elapsed[3]) < 60
    assert "Traceback" not in done.stdout


def test_wrong_configuration(checkout):
    """All that is wrong in one message; each mistake by itself is in tests/unit/test_config.py."""
    checkout.overlay.write_text("{colour: blue, seeds: [-1]}")
    done = checkout.snakemake("--dry-run", "--cores", "1")
    assert done.returncode != 0
    assert done.stdout.count("error: ") == 1
    assert "Traceback" not in done.stdout
    message = done.stdout.partition("error: ")[2]
    for part in ("colour: no such key (got 'blue')", "seeds.0: ", "(got -1)"):
        assert part in message


def test_unknown_target(checkout):
    """Unknown systems and sessions are in tests/unit/test_plan.py."""
    done = checkout.snakemake("paper_tables/coop.tex", "--dry-run", "--cores", "1")
    assert done.returncode != 0
    assert "no table 'coop'" in done.stdout
    assert "coopt" in done.stdout


def test_own_architecture_that_cannot_be_read(checkout):
    (checkout.folder / "unfinished.py").write_text("class Decoder(\n")
    checkout.python_path.append(checkout.folder)
    checkout.overlay.write_text(
        checkout.overlay.read_text() + "  Wiener: {architecture: 'unfinished:Decoder'}\n"
    )
    done = checkout.snakemake(METRICS, "--dry-run", "--cores", "1")
    assert done.returncode != 0
    message = "systems.Wiener.architecture: '(' was never closed (unfinished.py, line 1)"
    assert message in done.stdout


def test_local_source_without_its_file(checkout):
    checkout.overlay.write_text(
        "{source: local, catalogue: {own: {monkey: own, areas: {M1: 3}}}, sessions: [own]}"
    )
    done = checkout.snakemake("--dry-run", "--cores", "1", "--config", "folder=recordings")
    assert done.returncode != 0
    # A relative folder counts from the repository, not from --directory.
    assert str(checkout.folder / "recordings" / "own.mat") in done.stdout
    assert "change `folder`" in done.stdout


def test_damaged_session_is_named(checkout):
    raw = checkout.run_folder / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "synthetic_indy_1.mat").write_bytes(b"MATLAB 7.3" * 100)
    (raw / "synthetic_indy_1.md5").write_text("0  synthetic_indy_1.mat\n")
    binned = "data/binned/synthetic_indy_1.h5"
    done = checkout.snakemake(binned, "--cores", "1", "--rerun-triggers", "mtime")
    assert done.returncode != 0
    (error,) = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert "data/raw/synthetic_indy_1.mat" in error
    log = checkout.run_folder / "logs" / "data" / "binned" / "synthetic_indy_1.log"
    assert error in log.read_text()
    assert not (checkout.run_folder / binned).exists()


@pytest.fixture
def small_disk(checkout):
    """A file system of 1 MB in place of the results folder."""
    folder = checkout.run_folder / "results"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_full_disk(checkout, small_disk):
    trained = "results/train/Wiener/synthetic_indy_1/seed0/checkpoint.safetensors"
    done = checkout.snakemake(trained, "--cores", "1")
    assert done.returncode == 0, done.stdout
    before = (checkout.run_folder / trained).read_bytes()

    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    done = checkout.snakemake(METRICS, "--cores", "1")
    assert done.returncode != 0
    (error,) = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in error
    assert "results/evaluate/Wiener/synthetic_indy_1/seed0/" in error
    assert (checkout.run_folder / trained).read_bytes() == before
    assert not list(small_disk.glob("evaluate/**/*.json"))
