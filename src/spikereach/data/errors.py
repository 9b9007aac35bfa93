"""The one exception of the data layer."""


class SessionError(ValueError):
    """A session file or binned session cannot be used.

    The message names the file, the field or value, and the remedy.
    """
