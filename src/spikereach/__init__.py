"""Spiking decoders of cortical activity, trained, compressed and measured end to end."""

import os

# Threads of PyTorch that have nothing to do spin briefly, as between two small operations, and
# then sleep: spinning for long takes the cores from the compiled loops' own threads, and sleeping
# at once halves PyTorch's own speed. GNU's OpenMP reads this when PyTorch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = "0.1.0"
