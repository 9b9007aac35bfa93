"""What every workflow script does around its work."""

import errno
import fcntl
import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikereach import progress, surroundings
from spikereach.config import ConfigError
from spikereach.workflow import job as jobs


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in (*surroundings.THREADS, *surroundings.SET, *surroundings.DROPPED):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(jobs, "_end_with_parent", lambda: None)  # of the tests themselves
    (tmp_path / "input").write_text("content")
    (tmp_path / "output").write_text("made")
    return SimpleNamespace(
        log=["job.log"],
        config={
            "threads": 3,
            "device": "auto",
            "events": True,
            "progress": False,
            "source": "synthetic",
            "jobs_per_gpu": 1,
        },
        resources={},
        rule="train",
        wildcards={"seed": "0"},
        params={"system": "{}"},
        input=["input"],
        output=["output"],
        scriptdir=str(tmp_path / "workflow" / "scripts"),
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fail(snakemake, error):
    with pytest.raises(SystemExit) as caught, jobs.job(snakemake):
        raise error
    assert caught.value.code == 1
    return Path("job.log").read_text(encoding="utf-8"), jobs.ERRORS.read_text()


def test_output_goes_to_the_log(snakemake, capsys):
    with jobs.job(snakemake):
        print("said")
        print("warned", file=sys.stderr)
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert Path("job.log").read_text(encoding="utf-8") == "said\nwarned\n"
    assert capsys.readouterr() == ("", "")
    assert not jobs.ERRORS.exists()


def test_the_log_of_an_earlier_attempt_stays_where_its_state_does(snakemake):
    def work(said, saves):
        with jobs.job(snakemake) as run:
            print(said)
            if saves:
                (run.resume / "training.safetensors").touch()
            raise KeyboardInterrupt

    def attempt(said, saves):
        with pytest.raises(KeyboardInterrupt):
            work(said, saves)
        return Path("job.log").read_text(encoding="utf-8")

    assert attempt("first", saves=False) == "first\n"
    assert attempt("second", saves=True) == "second\n", "nothing of the first is left"
    assert attempt("third", saves=True) == "second\nthird\n"
    kept = snakemake.params
    snakemake.params = {"system": "another"}
    assert attempt("another job", saves=False) == "another job\n"
    snakemake.params = kept
    with jobs.job(snakemake) as run:
        print(run.resume, end="")
    assert Path("job.log").read_text(encoding="utf-8") == f"another job\n{run.resume}"
    with jobs.job(snakemake):
        print("from the start")
    assert Path("job.log").read_text(encoding="utf-8") == "from the start\n"
    assert list(jobs.RESUME.glob("*/*")) == []


def test_progress_bars_go_to_the_log_unless_there_is_a_terminal(snakemake, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    for terminal in (False, True):
        stderr = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "__stderr__", stderr)
        with jobs.job(snakemake):
            list(progress.progress_bar(range(2), desc="training"))
        shown, logged = stderr.getvalue(), Path("job.log").read_text(encoding="utf-8")
        assert ("training:" in shown, "training:" in logged) == (terminal, not terminal)


def test_gpu_stays_visible_where_the_rule_has_one(snakemake):
    snakemake.resources = {"gpu": 1}
    with jobs.job(snakemake):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_expected_error_is_one_line(snakemake):
    log, errors = fail(snakemake, ConfigError("systems.RTnet: wrong"))
    assert log == "error: systems.RTnet: wrong\n"
    assert errors == "systems.RTnet: wrong\n"


def test_error_of_the_file_system_is_one_line(snakemake):
    log, errors = fail(snakemake, OSError(errno.ENOSPC, "No space left on device", "results/x"))
    assert "Traceback" not in log
    assert errors.startswith("No space left on device: results/x")


def test_bug_leaves_its_traceback_in_the_log(snakemake):
    log, errors = fail(snakemake, KeyError("missing"))
    assert "Traceback" in log
    assert "job.log" in errors
    assert "KeyError: 'missing'" in errors


def test_errors_of_several_jobs_are_kept(snakemake):
    fail(snakemake, ConfigError("first"))
    _, errors = fail(snakemake, ConfigError("second"))
    assert errors == "first\nsecond\n"


HOLDER = """
import fcntl, sys
with open("job.log", "a") as log:
    fcntl.flock(log, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
    log.write("last words")
"""


def test_a_job_waits_for_the_same_job_of_an_earlier_run(snakemake, capsys):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        begun = time.monotonic()
        threading.Timer(0.3, holder.stdin.close).start()
        with jobs.job(snakemake):
            assert time.monotonic() - begun > 0.25
            print("said")
    assert Path("job.log").read_text(encoding="utf-8") == "said\n"
    assert "waiting for a job of an earlier run" in capsys.readouterr().err


# A job, and what started it.
JOB = """
import sys, time
from types import SimpleNamespace
from spikereach.workflow.job import job
fields = {"log": ["job.log"], "config": {"threads": 1, "device": "cpu"}}
fields |= {"resources": {}, "input": [], "output": []}
with job(SimpleNamespace(**fields)):
    print("begun", file=sys.__stdout__, flush=True)
    time.sleep(60)
"""
STARTER = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.mark.skipif(sys.platform != "linux", reason="a service of Linux")
def test_a_job_ends_when_its_starter_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, JOB], cwd=tmp_path, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout.readline() == b"begun\n"
        starter.kill()
        starter.stdout.read()  # ends when the last process that has it has ended
    with (tmp_path / "job.log").open() as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_inputs_from_the_future_are_refused_before_any_work(snakemake):
    soon = time.time() + jobs.FUTURE_S / 2
    os.utime("input", (soon, soon))
    with jobs.job(snakemake):
        pass
    os.utime("input", (2e9, 2e9))
    with pytest.raises(SystemExit), jobs.job(snakemake):
        pytest.fail("must not be reached")
    assert (
        Path("job.log").read_text(encoding="utf-8").startswith("error: input is dated Wed May 18 ")
    )


def test_termination_passes(snakemake):
    with pytest.raises(SystemExit) as caught, jobs.job(snakemake):
        sys.exit(143)
    assert caught.value.code == 143
    assert not jobs.ERRORS.exists()


def test_resume_folder_depends_on_all_that_the_result_depends_on(snakemake, tmp_path):
    seen = {jobs.Job(snakemake).resume, jobs.Job(snakemake).resume}
    assert len(seen) == 1
    for name, value in (
        ("rule", "compress"),
        ("wildcards", {"seed": "1"}),
        ("params", {"system": "{}", "code": "0"}),
    ):
        setattr(snakemake, name, value)
        seen.add(jobs.Job(snakemake).resume)
    (tmp_path / "input").write_text("other content")
    seen.add(jobs.Job(snakemake).resume)
    assert len(seen) == 5


def test_state_of_a_job_is_kept_until_it_is_done(snakemake):
    def attempt(error=None):
        with jobs.job(snakemake) as job:
            (job.resume / "state").write_text("half")
            if error is not None:
                raise error

    for error in (ConfigError("wrong"), SystemExit(143)):
        with pytest.raises(SystemExit):
            attempt(error)
        assert [path.read_text() for path in jobs.CACHE.rglob("state")] == ["half"]
    attempt()
    assert not list(jobs.CACHE.glob("resume/*"))


def test_device(snakemake):
    job = jobs.Job(snakemake)
    assert job.device == "cpu"  # no gpu resource
    snakemake.resources = {"gpu": 1}
    snakemake.config["device"] = "cuda"
    import torch

    if torch.cuda.is_available():
        assert job.device == "cuda"
    else:
        with pytest.raises(ConfigError, match="torch sees no GPU"):
            _ = job.device
        snakemake.config["device"] = "auto"
        assert job.device == "cpu"


def test_the_cpu_is_used_where_it_is_asked_for(snakemake, monkeypatch):
    """Also where a GPU is there and somebody's --set-resources asks for it."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    snakemake.resources, snakemake.config["device"] = {"gpu": 1}, "cpu"
    assert jobs.Job(snakemake).device == "cpu"
    with jobs.job(snakemake):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert Path("job.log").read_text(encoding="utf-8") == ""
    snakemake.config["device"] = "cuda"
    assert jobs.Job(snakemake).device == "cuda"


def test_what_a_training_is_told(snakemake):
    snakemake.log = ["logs/train/RTnet/seed0.log"]
    events = Path("logs/train/RTnet/seed0")
    told = {"device": "cpu", "progress": False, "events": events}
    assert jobs.Job(snakemake).training == told
    snakemake.config["events"] = False
    assert jobs.Job(snakemake).training == told | {"events": None}
