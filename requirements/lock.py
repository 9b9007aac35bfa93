"""Pin everything: write runtime.lock, dev.lock and envs/spikereach.yaml (`make lock`).

uv resolves pyproject.toml and dev.in together, so that both fit into one environment; a
version stands as long as nothing asks for another. Neither index addresses nor hashes are
written, so that ``torch==2.13.0`` takes whichever build (CPU, CUDA) the user's index offers,
and what torch's CUDA build brings along on its own (nvidia-*, cuda-*) is not pinned.
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHON = "3.11"
LIMIT_S = 900
"""For uv, which asks the index about hundreds of packages."""
OF_TORCH = re.compile(r"nvidia-|cuda-")
HEADER = "# Written by `make lock`; do not edit.\n"
ENVIRONMENT = """\
{header}name: spikereach
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python ={python}
  - pip
  - pip:
{pins}
"""


def resolve(*sources: str, preferred: list[str], constraints: list[str]) -> list[str]:
    """``name==version`` lines of all that installing the ``sources`` would install."""
    given = "\n".join(preferred), "\n".join(constraints)
    scratch = [HERE / ".preferred.txt", HERE / ".constraints.txt"]
    for path, text in zip(scratch, given, strict=True):
        path.write_text(text, "utf-8")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *sources]
    command += ["--extra", "workflow", "--python-version", PYTHON, "--no-header", "--no-annotate"]
    command += ["--constraint", str(scratch[1]), "--output-file", str(scratch[0])]
    try:
        subprocess.run(command, check=True, cwd=ROOT, timeout=LIMIT_S)
        found = scratch[0].read_text("utf-8").splitlines()
    finally:
        for path in scratch:
            path.unlink()
    return [line for line in found if line and not OF_TORCH.match(line)]


def read(path: Path) -> list[str]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [line for line in lines if not line.startswith("#")]


def main() -> None:
    locks = HERE / "runtime.lock", HERE / "dev.lock"
    before = [line for path in locks for line in read(path)]
    both = resolve("pyproject.toml", str(HERE / "dev.in"), preferred=before, constraints=[])
    runtime = resolve("pyproject.toml", preferred=both, constraints=both)
    # torch's CUDA build brings a Triton of its own; without it, the tests' comes from dev.lock.
    runtime = [line for line in runtime if not line.startswith("triton==")]
    dev = [line for line in both if line not in runtime]
    for path, pins in zip(locks, (runtime, dev), strict=True):
        path.write_text(HEADER + "\n".join(pins) + "\n", "utf-8")
    pins = "\n".join(f"      - {line}" for line in runtime)
    environment = ROOT / "envs" / "spikereach.yaml"
    environment.write_text(ENVIRONMENT.format(header=HEADER, python=PYTHON, pins=pins), "utf-8")


if __name__ == "__main__":
    main()
