"""What goes wrong in an evaluation."""


class EvaluationError(RuntimeError):
    """A metric cannot be trusted: the message names it, the values and what to do."""


class MismatchWarning(UserWarning):
    """A decoder reads a session of another monkey or of other cortex areas: names both."""
