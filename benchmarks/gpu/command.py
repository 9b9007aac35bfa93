"""Whether everything works on a GPU; docs/gpu.md says more."""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from gpu import document, stand_ins
from gpu.checks import Device
from gpu.runner import Group, Report, environment, run

ROOT = Path(__file__).resolve().parents[2]
GROUPS = (
    Group("kernels", "gpu.kernels", 210, processes=3),
    Group("updates", "gpu.updates", 210, processes=2),
    Group("resume", "gpu.resume", 210),
    Group("speed", "gpu.speed", 140, alone=True),
    Group("budget", "gpu.budget", 300, alone=True),
)
"""In order of their importance; each has what those before it left of all the time."""
DEADLINE_S = 520
"""Of all groups: nine minutes with what begins and ends the command."""
INTERPRETED_S = 1800
"""The same, and each group's, for an interpreter, whose machine may do other work beside."""
NEEDED = ("torch", "triton", "numba", "numpy", "h5py", "safetensors", "pydantic", "pytest")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "interpreter"), default="cuda")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "gpu.json",
        help="file for what is found, or a folder for gpu.json (default: build/gpu.json)",
    )
    parser.add_argument("--only", nargs="+", choices=[g.name for g in GROUPS], metavar="GROUP")
    parser.add_argument("--list", action="store_true", help="name the checks, make none")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="write the budget into docs/budget.md; of a GPU only",
    )
    given = parser.parse_args()
    device = Device(given.device)
    groups = [group for group in GROUPS if given.only is None or group.name in given.only]
    if given.list:
        return listed(groups, device)
    if reason := missing(device):
        print(f"error: {reason}", file=sys.stderr)
        return 2
    path = given.out / "gpu.json" if given.out.is_dir() else given.out
    path.parent.mkdir(parents=True, exist_ok=True)
    report = Report(path, device)
    report.names = {"python": platform.python_version()}
    report.names |= {name: version(name) for name in NEEDED}
    deadline = DEADLINE_S if device.real else INTERPRETED_S
    if not device.real:
        groups = [group._replace(box_s=INTERPRETED_S) for group in groups]
    # On a GPU all at once, so that their time boxes are one; an interpreter takes a core.
    jobs = sum(group.processes for group in GROUPS) if device.real else len(os.sched_getaffinity(0))
    run(groups, report, jobs=jobs, deadline_s=deadline)
    if instead := report.names.get("stand-ins for"):
        print(f"absent, and not needed: {', '.join(instead)}")
    print(f"On {report.names.get('device', 'no device')}: {report.verdict}. See {path}")
    if given.write_docs:
        try:
            document.write(path)
        except document.DocumentError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 1 if report.count("failed") else 0


def missing(device: Device) -> str | None:
    """What this Python lacks, and the remedy."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return (
            f"{sys.executable} has no {', '.join(absent)}: install them, or name another Python "
            "by make gpu PYTHON=..."
        )
    if device.real:
        import torch

        if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
            return "Triton needs a C compiler: install gcc"
        if not torch.cuda.is_available():
            return (
                f"PyTorch {torch.__version__} of {sys.executable} finds no NVIDIA GPU: name a "
                "Python whose PyTorch does by make gpu PYTHON=..., or rehearse on the CPU by "
                "make gpu DEVICE=interpreter"
            )
    return None


def version(name: str) -> str:
    """Of a package; the same modules come in packages of several names."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "of another package"


def listed(groups: list[Group], device: Device) -> int:
    values = environment(device)
    os.environ.update(device.environment)
    sys.path[1:1] = values["PYTHONPATH"].split(os.pathsep)
    with stand_ins.installed():
        for group in groups:
            for check in importlib.import_module(group.module).checks(device):
                print(f"{group.name}: {check.name}")
    return 0
