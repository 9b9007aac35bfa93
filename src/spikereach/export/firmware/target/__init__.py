"""What runs on the machines beside the decoder: start-up code, memories, the harness."""

from importlib import resources

FOLDER = resources.files(__package__)
