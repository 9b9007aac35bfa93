"""What goes wrong in a training."""


class TrainingError(RuntimeError):
    """Training cannot go on: names the run, the value and the remedy."""


class ExplosionError(TrainingError):
    """Loss or weights are no longer finite."""
