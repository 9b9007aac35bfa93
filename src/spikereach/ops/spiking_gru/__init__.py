"""A GRU of LIF neurons over time."""

from spikereach.ops.spiking_gru.cpu import Recursion, scan_spiking_gru

__all__ = ["Recursion", "scan_spiking_gru"]
