"""Half precision: IEEE 754 binary16 weights and buffers."""

import torch

from spikereach import config
from spikereach.compression import Run
from spikereach.training.errors import ExplosionError


def apply(run: Run, step: config.Half) -> None:
    """Round all parameters and buffers to half precision, in which the decoder then computes.

    Raises:
        ExplosionError: a value is beyond the range of half precision.
    """
    run.decoder.half()
    for name, value in run.decoder.state_dict().items():
        if not torch.isfinite(value).all():
            raise ExplosionError(
                f"{run.name}: {name} has values beyond 65504, which half precision cannot hold: "
                "train with weight decay or a lower learning rate"
            )
    run.decoder.weight_format, run.decoder.buffer_format = step.formats
