"""What the user's environment may bring into a process of ours, and what it may not.

Settings of a shell, a notebook or another project reach every process that is started there. Those
that change arithmetic, or break an import, end here.
"""

import os
from pathlib import Path

DROPPED = (
    # Switches for finding faults, with which compiled loops are slow or are others.
    "NUMBA_BOUNDSCHECK",
    "NUMBA_DISABLE_JIT",
    "NUMBA_OPT",
    "TRITON_INTERPRET",
    # TensorFloat-32 in place of float32.
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    # Fewer threads than asked for, where a machine is busy.
    "MKL_DYNAMIC",
    "OMP_DYNAMIC",
    # Another way to lay down HDF5 files, in pieces or in memory, or one that this library lacks.
    "HDF5_DRIVER",
    "HDF5_DRIVER_CONFIG",
    # Of another project; a file in the home is overruled by the figures' style.
    "MATPLOTLIBRC",
)
SET = {
    # A notebook names a backend that it alone has: matplotlib then refuses to be imported, and so
    # does snnTorch, which imports it.
    "MPLBACKEND": "agg",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""OpenBLAS looks at its own before it looks at that of OpenMP."""
CACHES = {
    "XDG_CACHE_HOME": ".cache",
    "MPLCONFIGDIR": ".cache/matplotlib",
    "TRITON_CACHE_DIR": ".cache/triton",
}
"""Folders of compiled code and the like, in the run folder; only where the home, in which they
lie otherwise, cannot be written, such as a container's for users that it does not know."""


def settle(threads: int | None = None) -> None:
    """Set and drop variables of this process; must precede the import of numerical libraries.

    Args:
        threads: of each library; None: as many as it takes.
    """
    for name in DROPPED:
        os.environ.pop(name, None)
    os.environ.update(SET)
    if not os.access(os.path.expanduser("~"), os.W_OK):  # "~" itself for a user without one
        for name, folder in CACHES.items():
            os.environ.setdefault(name, str(Path(folder).absolute()))
    if threads is not None:
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
