"""Spiking decoders of cortical activity, trained, compressed and measured end to end."""

import os

# Threads of PyTorch that have nothing to do sleep instead of spinning, which would take the
# cores from the compiled loops' own threads. Read when PyTorch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
