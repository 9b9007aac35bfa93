"""The error of a wrong configuration."""


class ConfigError(ValueError):
    """The configuration is wrong: the message names the key, the value and the remedy."""
