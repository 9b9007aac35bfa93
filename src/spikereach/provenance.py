"""What ran: software, commit and machine, as results and manifests have it, without wall times."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from spikereach.programs import ask

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
CODE = (":(top)src", ":(top)workflow", ":(top,exclude)workflow/presets")
"""Where a new file may be part of what runs, as git names it. Presets are overlays."""
LIMIT_S = 60.0
"""For git to look through a checkout; on a shared file system it may take seconds."""


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

    A change is a tracked file that differs, or a file in :data:`CODE` that git does not know. Of
    all else that a user puts beside the code nothing is: overlays, recordings and decoders of
    one's own are in manifests with their content (`spikereach.workflow.manifest`).

    (None, None) where the package does not run from a checkout, or git is absent.
    """
    here = Path(__file__).resolve()
    # A package installed inside some other repository is not tracked by it.
    if _git("ls-files", "--error-unmatch", here.name, folder=here.parent) is None:
        return None, None
    commit = _git("rev-parse", "HEAD", folder=here.parent)
    # What a run itself writes and git keeps (docs/versioned-data.md) changes no result.
    written = [f":(top,exclude){path}" for path in ("dvc.lock", "results")]
    tracked = ("status", "--porcelain", "--untracked-files=no", "--", ":/", *written)
    # What the checkout itself ignores, and not what its user does (.git/info/exclude).
    new = ("ls-files", "--others", "--exclude-per-directory=.gitignore", "--", *CODE)
    changes = [_git(*arguments, folder=here.parent) for arguments in (tracked, new)]
    return commit, None if None in changes else any(changes)


def short_commit(commit: str | None, dirty: bool | None) -> str:
    """A commit as captions print it: 12 digits, ``+`` for uncommitted changes."""
    return "unknown" if commit is None else commit[:12] + ("+" if dirty else "")


def _git(*arguments: str, folder: Path) -> str | None:
    """What git says of a folder, whatever settings of its user's are around.

    A repository that a hook or another project names, what somebody has git ignore or run, and who
    owns the checkout, whose code runs already, make no difference to what is recorded.
    """
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    settings = ("safe.directory=*", "core.excludesFile=", "core.fsmonitor=false")
    options = [option for setting in settings for option in ("-c", setting)]
    answer = ask(
        ["git", "--no-optional-locks", *options, "-C", str(folder), *arguments],
        limit_s=LIMIT_S,
        otherwise="the commit is recorded as unknown; is the checkout's file system slow?",
        environment=environment,
    )
    return None if answer is None else answer.strip()


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
