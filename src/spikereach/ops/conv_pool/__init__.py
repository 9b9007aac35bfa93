"""Convolution, batch norm, pooling and dropout in one pass."""

from spikereach.ops.conv_pool.cpu import Normalisation, conv_pool

__all__ = ["Normalisation", "conv_pool"]
