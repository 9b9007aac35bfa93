"""Pin everything: write runtime.lock, dev.lock and envs/spikereach.yaml (`make lock`).

pip itself resolves pyproject.toml and dev.in in a dry run; what it would install is
written down. Neither index addresses nor hashes are written, so that ``torch==2.13.0``
takes whichever build (CPU, CUDA) the user's index offers, and what torch's CUDA build
brings along on its own (nvidia-*, cuda-*, triton) is not pinned.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OF_TORCH = re.compile(r"nvidia-|cuda-|triton$|pytorch-triton")
HEADER = "# Written by `make lock`; do not edit.\n"
ENVIRONMENT = """\
{header}name: spikereach
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python =3.11
  - pip
  - pip:
{pins}
"""


def resolve(*requirements: str) -> dict[str, str]:
    """Name -> version of everything that ``pip install`` of ``requirements`` would install."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), *requirements]
        subprocess.run(command, check=True)
        packages = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    pins = {}
    for package in packages:
        name = re.sub(r"[-_.]+", "-", package["name"]).lower()
        if name != "spikereach" and not OF_TORCH.match(name):
            pins[name] = package["version"].partition("+")[0]  # without the build: +cpu, +cu130
    return dict(sorted(pins.items()))


def lines(pins: dict[str, str]) -> list[str]:
    return [f"{name}=={version}" for name, version in pins.items()]


def main() -> None:
    runtime = resolve(f"{HERE.parent}[workflow]")
    (HERE / "runtime.lock").write_text(HEADER + "\n".join(lines(runtime)) + "\n")
    both = resolve("-r", str(HERE / "runtime.lock"), "-r", str(HERE / "dev.in"))
    dev = {name: version for name, version in both.items() if name not in runtime}
    (HERE / "dev.lock").write_text(HEADER + "\n".join(lines(dev)) + "\n")
    pins = "\n".join(f"      - {line}" for line in lines(runtime))
    environment = HERE.parent / "envs" / "spikereach.yaml"
    environment.parent.mkdir(exist_ok=True)
    environment.write_text(ENVIRONMENT.format(header=HEADER, pins=pins))


if __name__ == "__main__":
    main()
