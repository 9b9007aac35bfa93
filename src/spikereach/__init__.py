"""Spiking decoders of cortical activity, trained, compressed and measured end to end."""

__version__ = "0.1.0"
