"""Spiking decoders of cortical activity, trained, compressed and measured end to end."""

import itertools
import os

# Threads of PyTorch that have nothing to do spin briefly, as between two small operations, and
# then sleep: spinning for long takes the cores from the compiled loops' own threads, and sleeping
# at once halves PyTorch's own speed. GNU's OpenMP reads this when PyTorch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# OpenBLAS, to release 0.3.31, takes an AMD Zen 5 for a processor without AVX-512, at half the speed
# of the compiled loops' matrix products. It reads this when it is loaded, here by SciPy.
try:
    with open("/proc/cpuinfo") as _lines:
        _first = itertools.takewhile(str.strip, _lines)
        _processor = {word for line in _first for word in line.split()}
except OSError:  # not Linux
    _processor = set()
if _processor >= {"AuthenticAMD", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}:
    os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")

__version__ = "0.1.0"
