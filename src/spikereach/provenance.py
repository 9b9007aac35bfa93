"""What ran: software, commit and machine, as results and manifests have it, without wall times."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "spikereach",
    "torch",
    "snntorch",
    "neurobench",
    "numpy",
    "scipy",
    "numba",
    "pandas",
    "h5py",
    "safetensors",
    "optuna",
    "matplotlib",
)


def provenance(**inputs: Any) -> dict[str, Any]:
    """Where a result comes from: :func:`environment` and its ``inputs``, JSON-like.

    Equal for equal inputs on the same machine and checkout.
    """
    return {**environment(), "inputs": dict(sorted(inputs.items()))}


def environment() -> dict[str, Any]:
    """What runs: python, platform, gpu, packages (name -> version or None), commit, dirty."""
    commit, dirty = repository_state()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "gpu": _gpu(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit,
        "dirty": dirty,
    }


def repository_state() -> tuple[str | None, bool | None]:
    """Commit hash of the checkout this package runs from, and whether it has changes.

    (None, None) where the package does not run from a checkout, or git is absent.
    """
    here = Path(__file__).resolve()
    # A package installed inside some other repository is not tracked by it.
    if _git("ls-files", "--error-unmatch", here.name, folder=here.parent) is None:
        return None, None
    commit = _git("rev-parse", "HEAD", folder=here.parent)
    # What a run itself writes and git keeps (docs/versioned-data.md) changes no result.
    written = [f":(top,exclude){path}" for path in ("dvc.lock", "results")]
    changes = _git("status", "--porcelain", "--", ":/", *written, folder=here.parent)
    return commit, None if changes is None else bool(changes)


def short_commit(commit: str | None, dirty: bool | None) -> str:
    """A commit as captions print it: 12 digits, ``+`` for uncommitted changes."""
    return "unknown" if commit is None else commit[:12] + ("+" if dirty else "")


def _git(*arguments: str, folder: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu() -> str | None:
    """Name of the CUDA device in use; never imports torch or starts CUDA for it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return torch.cuda.get_device_name()
