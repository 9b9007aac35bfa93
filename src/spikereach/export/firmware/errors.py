"""What goes wrong where firmware is built and run."""


class FirmwareError(RuntimeError):
    """A decoder was not built, did not run, or decoded something else than it should."""
