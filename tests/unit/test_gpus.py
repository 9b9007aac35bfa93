"""Jobs on one machine share its GPUs; pretended ones, because only their names matter here."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from spikereach.workflow import gpus

HOLDER = """
import sys
from spikereach.workflow import gpus

gpus.POLL_S = 0.02
with gpus.lease(int(sys.argv[1])) as gpu:
    print(gpu, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Three GPUs, no SLURM, and lock files of its own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "POLL_S", 0.02)


@pytest.fixture
def start(tmp_path):
    """Start a process that holds a GPU until its input ends."""
    with ExitStack() as stack:

        def start(jobs_per_gpu=1, **environment):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDER, str(jobs_per_gpu)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=os.environ | {"TMPDIR": str(tmp_path)} | environment,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield start


def gpu_of(process):
    return process.stdout.readline().strip()


def test_a_job_sees_one_gpu():
    with gpus.lease(1) as gpu:
        assert gpu == os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_jobs_at_once_hold_distinct_gpus(start):
    processes = [start() for _ in range(3)]
    assert sorted(map(gpu_of, processes)) == ["0", "1", "2"]


@pytest.mark.parametrize("end", ["its body ends", "kill -9"])
def test_a_job_too_many_waits_until_one_ends(start, end):
    holders = {gpu_of(process): process for process in [start() for _ in range(3)]}
    late = start()
    with pytest.raises(subprocess.TimeoutExpired):
        late.wait(0.5)
    if end == "kill -9":
        holders["1"].send_signal(signal.SIGKILL)
    else:
        holders["1"].stdin.close()
    assert gpu_of(late) == "1"
    assert holders["0"].poll() is holders["2"].poll() is None


def test_small_jobs_share_gpus_evenly(start):
    """No second job on a GPU while another has none."""
    gpus_in_turn = [gpu_of(start(jobs_per_gpu=2)) for _ in range(6)]
    assert gpus_in_turn == ["0", "1", "2", "0", "1", "2"]


def test_jobs_of_a_scheduler_do_not_keep_each_other_out(start):
    """Each is given GPUs of its own, whatever their numbers."""
    processes = [start(SLURM_JOB_ID=str(job), CUDA_VISIBLE_DEVICES="0") for job in (7, 8)]
    assert [gpu_of(process) for process in processes] == ["0", "0"]


def test_jobs_in_one_job_of_a_scheduler_share_its_gpus(start):
    processes = [start(SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="2,5") for _ in range(2)]
    assert sorted(map(gpu_of, processes)) == ["2", "5"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("3", ["3"]),
        ("GPU-8a, GPU-8b", ["GPU-8a", "GPU-8b"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_given_gpus(monkeypatch, given, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpus.visible() == expected
    if not expected:
        with gpus.lease(1) as gpu:
            assert gpu is None
            assert os.environ["CUDA_VISIBLE_DEVICES"] == given


WHOLE = """\
GPU 0: NVIDIA H200 (UUID: GPU-6f3c1b5e-0001)
GPU 1: NVIDIA H200 (UUID: GPU-6f3c1b5e-0002)
"""
SLICED = """\
GPU 0: NVIDIA H200 (UUID: GPU-6f3c1b5e-0001)
  MIG 3g.71gb     Device  0: (UUID: MIG-52aa-0001)
  MIG 3g.71gb     Device  1: (UUID: MIG-52aa-0002)
"""


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (WHOLE, ["GPU-6f3c1b5e-0001", "GPU-6f3c1b5e-0002"]),
        (SLICED, ["MIG-52aa-0001", "MIG-52aa-0002"]),
        ("No devices found.\n", []),
        (None, []),
    ],
)
def test_listed_gpus(monkeypatch, tmp_path, printed, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if printed is not None:
        (tmp_path / "listed").write_text(printed)
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && cat {tmp_path}/listed\n')
        program.chmod(0o755)
    elif gpus.shutil.which("nvidia-smi"):
        pytest.skip("nvidia-smi is installed beside the system's programs")
    assert gpus.visible() == expected
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert gpus.visible() == [], "a SLURM job has no other GPUs than it was given"


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch, tmp_path, caplog):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpus, "LIMIT_S", 0.3)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nsleep 600\n", "utf-8")
    program.chmod(0o755)
    assert gpus.visible() == []
    assert "nvidia-smi -L gave no answer within 0.3 s" in caplog.text
    assert "CUDA_VISIBLE_DEVICES" in caplog.text
    caplog.clear()
    assert gpus.visible() == []
    assert not caplog.text, "nobody asks again, jobs neither"
