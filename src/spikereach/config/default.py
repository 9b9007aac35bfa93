"""Where ``config.yaml`` lies: in the current folder, or where the package has it.

So commands work in any folder, with the paper's run, and in a checkout with what stands there.
"""

from pathlib import Path

import spikereach

NAME = "config.yaml"


def found(path: str | Path) -> Path:
    """Where a configuration lies: ``config.yaml``, where this folder has none, is `installed`."""
    path = Path(path)
    return path if path != Path(NAME) or path.exists() or path.is_symlink() else installed()


def installed() -> Path:
    """The ``config.yaml`` that came with the package: setup.py's copy, or that of the checkout.

    The copy lies in a folder without code: data beside code belong to what a job depends on
    (`identity.code_digest`).
    """
    package = Path(spikereach.__file__).parent
    copy = package / "paper" / NAME
    return copy if copy.is_file() else package.parents[1] / NAME
