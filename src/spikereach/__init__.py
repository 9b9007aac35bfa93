"""Spiking decoders of cortical activity, trained, compressed and measured end to end.

From Python: `load_session`, `load_checkpoint`, `decode`, `Stream`, `evaluate`, `input_spikes` and
`export_decoder`, all of `spikereach.api`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikereach.api import (
        Stream,
        decode,
        evaluate,
        export_decoder,
        input_spikes,
        load_checkpoint,
        load_session,
    )

# Threads of PyTorch that have nothing to do spin briefly, as between two small operations, and
# then sleep: spinning for long takes the cores from the compiled loops' own threads, and sleeping
# at once halves PyTorch's own speed. GNU's OpenMP reads this when PyTorch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = "0.1.0"
__all__ = [
    "Stream",
    "decode",
    "evaluate",
    "export_decoder",
    "input_spikes",
    "load_checkpoint",
    "load_session",
]


def __getattr__(name: str) -> Any:
    """One of `__all__`, with which PyTorch is imported; `import spikereach` alone costs nothing.

    The module's name is a text: by a statement every job would depend on all code (`identity`).
    """
    if name in __all__:
        return getattr(import_module("spikereach.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
