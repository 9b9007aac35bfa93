"""Settings of a shell, a notebook or another project: a job and a command do as without them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spikereach import surroundings

JOB = """
import hashlib
from types import SimpleNamespace
from spikereach.workflow.job import job

snakemake = SimpleNamespace(
    log=["log"], resources={}, input=[], output=["made"], wildcards={}, params={}, rule="r",
    config={"threads": 2, "source": "synthetic", "device": "cpu", "jobs_per_gpu": 1},
    scriptdir="a/b/c",
)
with job(snakemake):
    import h5py
    import numba
    import snntorch
    import torch
    from threadpoolctl import threadpool_info

    from spikereach.reporting.plots.computed import latency

    h5py.File("a.h5", "w").close()
    open("a.h5", "rb").close()
    files = latency().files()
    with open("made", "w", encoding="utf-8") as made:
        for suffix, content in files.items():
            print(suffix, hashlib.sha256(content).hexdigest(), file=made)
        numbers = sorted({(each["prefix"], each["num_threads"]) for each in threadpool_info()})
        print(numbers, torch.get_num_threads(), numba.config.DISABLE_JIT, file=made)
"""

RC = """
backend: module://matplotlib_inline.backend_inline
figure.figsize: 9, 1
text.usetex: True
axes.formatter.use_locale: True
pdf.fonttype: 3
savefig.dpi: 7
timezone: Asia/Tokyo
"""


def made(folder, *prefix, **variables):
    folder.mkdir(exist_ok=True)
    environment = os.environ | variables
    done = subprocess.run(
        [*prefix, sys.executable, "-c", JOB],
        cwd=folder,
        env={name: value for name, value in environment.items() if value is not None},
        timeout=300,
    )
    log = (folder / "log").read_text("utf-8")
    assert done.returncode == 0, log
    return (folder / "made").read_text("utf-8")


HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MATPLOTLIBRC": "{folder}/rc",
    "HOME": "/dev/null/nowhere",
    "XDG_CONFIG_HOME": "{folder}/config",
    "HDF5_DRIVER": "split",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_DYNAMIC": "true",
    "NUMBA_DISABLE_JIT": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "7",
    "PYTHONSAFEPATH": "1",
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "always",
    "SOURCE_DATE_EPOCH": "1",
    "TZ": "Asia/Tokyo",
    "COLUMNS": "20",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made(tmp_path_factory.mktemp("plain") / "job")


def test_a_job_does_as_without_them(plain, tmp_path, locale_variables):
    (tmp_path / "config" / "matplotlib").mkdir(parents=True)
    for path in ("rc", "config/matplotlib/matplotlibrc"):
        (tmp_path / path).write_text(RC, "utf-8")
    given = {name: value.format(folder=tmp_path) for name, value in HOSTILE.items()}
    assert made(tmp_path / "job", **given, **locale_variables) == plain


def test_a_user_whom_the_machine_does_not_know(plain):
    """As in a container with `--user`: no name, no home, and a package that is not theirs."""
    stranger = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    imports = [*stranger, sys.executable, "-c", "import spikereach.surroundings"]
    if os.geteuid() != 0 or subprocess.run(imports, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("only root runs jobs as somebody else, who must find Python and the package")
    with tempfile.TemporaryDirectory() as folder:  # unlike pytest's, anybody may enter it
        Path(folder).chmod(0o777)
        assert made(Path(folder), *stranger, HOME=None, USER=None, LOGNAME=None) == plain


def test_caches_lie_in_the_run_folder_where_the_home_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (*surroundings.CACHES, *surroundings.SET, *surroundings.DROPPED):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    surroundings.settle()
    assert not surroundings.CACHES.keys() & os.environ.keys()
    monkeypatch.setenv("HOME", "/dev/null/nowhere")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/given")
    surroundings.settle()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / ".cache")
    assert os.environ["TRITON_CACHE_DIR"] == "/given"
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # a user whom the machine does not know
    surroundings.settle()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / ".cache")


def test_a_command_of_ours_needs_no_notebook(repository):
    command = ["from spikereach.cli import app; app()", "describe", "SNN2", "--channels", "96"]
    done = subprocess.run(
        [sys.executable, "-c", *command, "--config", repository / "config.yaml"],
        env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "19,648" in done.stdout
