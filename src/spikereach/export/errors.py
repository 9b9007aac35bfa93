"""The one exception of the exports."""


class ExportError(ValueError):
    """A decoder cannot be exported as asked: names the layer, the value and the remedy."""
