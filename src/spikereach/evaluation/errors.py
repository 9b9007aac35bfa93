"""What goes wrong in an evaluation."""


class EvaluationError(RuntimeError):
    """A metric cannot be trusted: the message names it, the values and what to do."""
