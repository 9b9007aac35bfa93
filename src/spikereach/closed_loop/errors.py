"""Errors of the closed loop."""


class LoopError(ValueError):
    """The loop cannot be closed with what is given: names it and the remedy."""
