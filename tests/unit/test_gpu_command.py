"""`make gpu` itself: what it counts, writes and needs. That the package holds is its own to say."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from spikereach.training import arithmetic

# What docs/gpu.md asks for, and what these need in turn.
ALLOWED = {
    *("torch", "torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe"),
    *(
        "fsspec",
        "filelock",
        "typing_extensions",
        "setuptools",
        "jaraco",
        "more_itertools",
        "backports",
    ),
    *("triton", "numba", "llvmlite", "numpy", "h5py", "safetensors"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
    *("pytest", "py", "iniconfig", "pluggy", "packaging", "pygments"),
    *(
        "__main__",
        "spikereach",
        "gpu",
        "operations",
        "batches",
        "budget",
        "common",
        "rows",
        "sitecustomize",
    ),
}
BLOCKING = """\
import sys

ALLOWED = {allowed!r} | sys.stdlib_module_names


class Blocking:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("_") and name.partition(".")[0] not in ALLOWED:
            return None
        return self.finder.find_spec(name, path, target)


sys.meta_path = [Blocking(f) if hasattr(f, "find_spec") else f for f in sys.meta_path]
"""


@pytest.fixture(scope="module")
def gpu(repository):
    """The command's modules, which lie beside the package."""
    paths = [str(repository / "benchmarks"), str(repository / "tests" / "ops")]
    sys.path[:0] = paths
    try:
        names = ["runner", "checks", "cases", "exact", "kernels", "document", "stand_ins"]
        modules = {n: importlib.import_module(f"gpu.{n}") for n in [*names, "command"]}
        yield SimpleNamespace(**modules)
    finally:
        for path in paths:
            sys.path.remove(path)


@pytest.fixture
def alone(tmp_path):
    """The environment of a Python that has what docs/gpu.md asks for and nothing else."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKING.format(allowed=ALLOWED))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TRITON", "COV"))}
    return environment | {"PYTHONPATH": str(tmp_path)}


CHECKS = """\
import os, signal, time
from gpu.checks import Check, MissedError, SkippedError

def checks(device):
    yield Check("fine", lambda: {"ms": 1.23456, "rows": [1]})
    yield Check("wrong", wrong)
    yield Check("aim", aim)
    yield Check("absent", absent)
    yield Check("killed", lambda: os.kill(os.getpid(), signal.SIGKILL))
    yield Check("spoils", spoils)
    yield Check("after", lambda: None)
    yield Check("slow", lambda: time.sleep(60))
    yield Check("never", lambda: None)

def wrong():
    assert False, "two\\nlines"

def aim():
    raise MissedError("ten is the aim", {"ratio": 3})

def absent():
    raise SkippedError("no norse")

def spoils():
    with open(__file__ + ".seen", "a") as file:
        file.write("x")
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
"""


def test_all_checks_are_counted_whatever_they_do(gpu, tmp_path, monkeypatch, capsys):
    (tmp_path / "made.py").write_text(CHECKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = gpu.runner.Report(tmp_path / "out.json", gpu.checks.Device("interpreter"))
    groups = [
        gpu.runner.Group("one", "made", 6),
        gpu.runner.Group("other", "nothing_of_this_name", 6, alone=True),
    ]
    gpu.runner.run(groups, report, jobs=2, deadline_s=60)
    found = json.loads((tmp_path / "out.json").read_bytes())
    outcomes = {check["name"]: check["outcome"] for check in found["checks"]}
    assert outcomes == {
        **{"fine": "held", "wrong": "failed", "aim": "failed", "absent": "skipped"},
        **{"killed": "failed", "spoils": "failed", "after": "held"},
        **{"slow": "not run", "never": "not run", "its process": "failed"},
    }
    assert report.verdict == "2 of 7 held; 5 failed, 1 skipped, 2 not run"
    assert (found["held"], found["failed"]) == (2, 5)
    assert (tmp_path / "made.py.seen").read_text() == "x"  # none is made twice
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "held     one: fine: ms 1.23"
    assert lines[1] == "failed   one: wrong: AssertionError: two lines"
    assert lines[2] == "failed   one: aim: MissedError: ten is the aim; ratio 3"
    assert "failed   one: killed: its process ended: SIGKILL" in lines
    assert "nothing_of_this_name" in lines[-1]


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 1)])
def test_the_exit_code_says_whether_any_failed(gpu, failed, code, tmp_path, monkeypatch, capsys):
    def run(groups, report, *, jobs, deadline_s):
        report.add("kernels", "a", "held")
        report.add("kernels", "b", "not run")
        if failed:
            report.add("kernels", "c", "failed", why="x")

    monkeypatch.setattr(gpu.command, "run", run)
    monkeypatch.setattr(gpu.command, "missing", lambda device: None)
    monkeypatch.setattr(gpu.command, "NEEDED", ("torch", "no_such_package"))
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "interpreter", "--out", str(tmp_path)])
    assert gpu.command.main() == code
    assert json.loads((tmp_path / "gpu.json").read_bytes())["failed"] == failed
    assert f"1 of {1 + failed} held" in capsys.readouterr().out.splitlines()[-1]


def test_a_machine_without_a_gpu_is_told(gpu, monkeypatch):
    monkeypatch.setattr(gpu.command, "NEEDED", ("torch",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CC", "cc")
    assert "DEVICE=interpreter" in gpu.command.missing(gpu.checks.Device("cuda"))
    assert gpu.command.missing(gpu.checks.Device("interpreter")) is None
    monkeypatch.setattr(gpu.command, "NEEDED", ("torch", "no_such_package"))
    assert "has no no_such_package" in gpu.command.missing(gpu.checks.Device("cuda"))


def test_all_groups_can_be_imported_with_what_is_asked_for_only(gpu, alone, repository):
    command = [sys.executable, repository / "benchmarks/gpu", "--list", "--device", "interpreter"]
    done = subprocess.run(command, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    groups = {line.partition(":")[0] for line in done.stdout.splitlines()}
    assert groups == {group.name for group in gpu.command.GROUPS}
    names = done.stdout.splitlines()
    assert len(set(names)) == len(names)


@pytest.mark.long
def test_the_command_rehearsed_with_an_interpreter(alone, repository, tmp_path):
    """In a copy without git, with what docs/gpu.md asks for and nothing else."""
    pytest.importorskip("triton", reason="Triton is not installed")
    copy = tmp_path / "copy"
    for name in ("benchmarks", "src", "tests"):
        shutil.copytree(repository / name, copy / name)
    shutil.copy(repository / "config.yaml", copy)
    out = tmp_path / "gpu.json"
    command = [sys.executable, copy / "benchmarks/gpu", "--device", "interpreter", "--out", out]
    done = subprocess.run(command, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    found = json.loads(out.read_bytes())
    assert found["held"] > 80
    assert found["failed"] == found["not run"] == 0
    skipped = {check["name"] for check in found["checks"] if check["outcome"] == "skipped"}
    assert all(" against " in name for name in skipped)
    assert {check["group"] for check in found["checks"]} >= {"kernels", "updates", "resume"}
    assert done.stdout.splitlines()[-1].startswith("On Triton's interpreter on the CPU: ")


def test_the_configuration_as_json_is_that_of_the_paper(gpu, repository):
    """So that it can be read without PyYAML; `make schema` writes it."""
    text = (repository / "config.yaml").read_bytes()
    assert gpu.stand_ins.safe_load(text) == yaml.safe_load(text), "run `make schema`"
    with pytest.raises(gpu.stand_ins.YAMLError, match="install PyYAML"):
        gpu.stand_ins.safe_load(b"seeds: [0]\n")


def test_checks_compute_as_trainings_on_a_gpu_do(gpu, monkeypatch):
    """TensorFloat-32 would be further off float64 than is allowed."""
    fork = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: fork([]))
    monkeypatch.delenv(arithmetic.WORKSPACE, raising=False)
    with gpu.checks.Device("cuda").taken():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()
    with gpu.checks.Device("interpreter").taken():
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_recording_can_be_trained_on(gpu):
    recording = gpu.cases.session(640)
    assert len(recording.split("neurobench").train) == 320
    assert recording.channels(["M1"]).tolist() == list(range(48))


OPTIONS = {"steps": 20, "batch": 30, "units": 9, "seed": 3, "recurrent": True}


@pytest.mark.parametrize("name", ["lif", "current_lif", "integrator"])
def test_a_backend_that_is_wrong_fails(gpu, name):
    """The compiled loops in the place of a GPU's kernels."""
    operation = gpu.kernels.OPERATIONS[name]
    options = gpu.kernels.first(operation) | OPTIONS
    held = gpu.kernels.compare(operation, options, "each step")
    assert max(held["outputs"], held["gradients"]) < 1e-5

    def tampered(factor):
        def run(leaves, options, backend):
            if backend != "reference":
                leaves = {n: t * factor if n in ("decay", "mem") else t for n, t in leaves.items()}
            return operation.run(leaves, options, backend)

        return operation._replace(run=run)

    with pytest.raises(AssertionError, match=r"differ|flips"):
        gpu.kernels.compare(tampered(1.001), options, "each step")


@pytest.fixture
def flipping(gpu):
    """Whether streams part, of spikes (10, 40, 3) of which one flips in each of these streams, at
    this distance from the threshold, and others after it."""
    rng = np.random.default_rng(0)

    def parted(streams, distance):
        distances = torch.from_numpy(rng.normal(size=(10, 40, 3)))
        distances[4, :, 1] = distance
        exact = (distances > 0).float()
        ours = exact.clone()
        for stream in streams:
            ours[4, stream, 1] = 1 - ours[4, stream, 1]
            ours[5:, stream] = 1 - ours[5:, stream]
        return gpu.exact.parted(
            {"z": ours}, {"z": exact}, list(distances), rounding=1e-5, parting=0.1
        )

    return parted


def test_a_spike_may_flip_at_its_threshold_only(flipping):
    assert flipping([], 1.0).sum() == 0
    assert flipping([3, 5], 1e-6).nonzero().flatten().tolist() == [3, 5]
    with pytest.raises(AssertionError, match=r"stream 3 .* at step 4, .* 2e-05 from"):
        flipping([3], 2e-5)
    with pytest.raises(AssertionError, match="5 of 40 streams part"):
        flipping(range(5), 1e-6)


def test_distances_belong_to_layers(gpu):
    """Of two equal layers after each other, of two that take turns, and of a spiking GRU."""
    exact, rng = gpu.exact, np.random.default_rng(0)

    def draw(*shape):
        return torch.from_numpy(rng.normal(size=shape))

    one, two, gates = draw(4, 2, 3), draw(4, 2, 3), draw(4, 2, 6)
    assert torch.equal(exact.distances({"a": one, "b": two}, [*one, *two])["b"], two)
    wide = draw(4, 2, 5)
    turns = [call for pair in zip(one, wide, strict=True) for call in pair]
    found = exact.distances({"a": one, "b": wide}, turns)
    assert torch.equal(found["a"], one)
    assert torch.equal(found["b"], wide)
    pairs = [call for g, c in zip(gates, one, strict=True) for call in (g, c)]
    both = torch.cat([gates, one], -1)
    assert torch.equal(exact.distances({"gates": both}, pairs)["gates"], both)


ROW = {"training": "finetune", "channels": 96, "update_ms": 3.0, "runs": 10, "hours": 2.5}


@pytest.fixture
def measured(tmp_path):
    """A file of what was found, and a document."""
    rows = [ROW | {"system": "RTnet"}]
    found = {
        "device_kind": "cuda",
        "device": "NVIDIA A",
        "torch": "2",
        "checks": [
            {"group": "kernels", "name": "lif", "figures": {}},
            {"group": "budget", "name": "RTnet", "figures": {"hours": 2.5, "rows": rows}},
            {"group": "budget", "name": "whole paper", "figures": {"hours": 2.5}},
        ],
    }
    document = tmp_path / "budget.md"
    document.write_text("# Cost\n\n<!-- make gpu: begin -->\nnone\n<!-- make gpu: end -->\nend\n")
    return tmp_path / "gpu.json", found, document


def test_the_document_has_the_hours_of_a_gpu(gpu, measured):
    path, found, document = measured
    path.write_text(json.dumps(found))
    gpu.document.write(path, document)
    text = document.read_text()
    assert "one NVIDIA A, PyTorch 2" in text
    assert "| RTnet | finetune | 96 | 3.0 | 15.0 | 10 | 2.50 |" in text
    assert "2.5 hours in all" in text
    assert text.startswith("# Cost\n\n<!--")
    assert text.endswith("-->\nend\n")
    assert "none" not in text
    gpu.document.write(path, document)
    assert document.read_text() == text


def test_the_document_has_no_other_figures(gpu, measured):
    path, found, document = measured
    for changed, message in (
        ({"device_kind": "interpreter"}, "not measured on a GPU"),
        ({"checks": [{"group": "budget", "name": "SNN2", "outcome": "not run"}]}, "for SNN2"),
        ({"checks": []}, "for any system"),
    ):
        path.write_text(json.dumps(found | changed))
        with pytest.raises(gpu.document.DocumentError, match=message):
            gpu.document.write(path, document)
    assert "none" in document.read_text()


def test_the_projects_document_has_a_place(gpu):
    text = gpu.document.DOCUMENT.read_text("utf-8")
    assert text.index(gpu.document.BEGIN) < text.index(gpu.document.END)
