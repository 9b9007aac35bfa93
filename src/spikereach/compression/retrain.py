"""Fine-tuning with further penalties (Krausse et al. 2025)."""

from spikereach import config
from spikereach.compression import Run


def apply(run: Run, step: config.Retrain) -> None:
    """Retrain by ``step.retrain``, whose penalties silence neurons and shrink weights."""
    run.retrain(step.retrain)
