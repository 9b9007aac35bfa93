"""The run is killed at random moments, time after time, and loses nothing but time."""

import os
import random
import shutil
import signal
import subprocess

import pytest

from spikereach.workflow.verify import verify

TARGET = "paper_tables/coopt.csv"
MOMENTS_S = 1.0, 7.5
"""Of kills after the start: from reading the rules to when one or two jobs are done."""

OVERLAY = """
synthetic: {duration_s: 30.0}
evaluation: {neurobench_steps: 16, stream_steps: 16}
tables: {coopt: [tinyRSNN]}
systems:
  tinyRSNN:
    training: {pretrain: null}
"""


def results(checkout):
    """All that must not depend on what happened on the way, byte by byte."""
    patterns = ("paper_tables/*", "results/*/*/*/*/checkpoint.safetensors", "data/*/*.*")
    patterns += ("results/*/*/*/*/metrics.json", "results/*/*/*/*/predictions.h5")
    files = [path for pattern in patterns for path in checkout.run_folder.glob(pattern)]
    return {str(path.relative_to(checkout.run_folder)): path.read_bytes() for path in files}


@pytest.fixture
def small(checkout):
    overlay = checkout.folder / "smaller.yaml"
    overlay.write_text(OVERLAY)
    checkout.overlays.append(overlay)
    return checkout


@pytest.fixture
def undisturbed(small, make_checkout, tmp_path):
    """Results of the same run without kills."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    other = make_checkout(folder)
    other.overlays = small.overlays
    done = other.snakemake(TARGET, "--cores", "2")
    assert done.returncode == 0, done.stdout
    return results(other)


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 20])
def test_kills(number, small, undisturbed):
    assert len(undisturbed) > 10
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    kills, finished = [], 0
    while len(kills) < number:
        after_s = moments.uniform(*MOMENTS_S)
        with small.started(TARGET, "--cores", "2") as process:
            try:
                output, _ = process.communicate(timeout=after_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with all its jobs
                output, _ = process.communicate()
                kills.append(round(after_s, 2))
                continue
        assert process.returncode == 0, output
        assert results(small) == undisturbed
        finished += 1
        shutil.rmtree(small.run_folder)
    print(f"seed {seed}: killed after {kills} s; {finished} runs ended before their kill")
    done = small.snakemake(TARGET, "--cores", "2")
    assert done.returncode == 0, done.stdout
    assert results(small) == undisturbed
    assert verify(small.run_folder).breaks == []
    leftover = [path for path in small.run_folder.rglob("*") if path.suffix in (".tmp", ".part")]
    assert leftover == []
    assert not list((small.run_folder / ".cache" / "resume").iterdir())
