"""A page to explore decoders: one HTML file with its data, styles and program inside."""

from spikereach.reporting.view.page import write

__all__ = ["write"]
