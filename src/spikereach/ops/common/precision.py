"""What stays in float32 under automatic mixed precision: all that goes on from step to step.

Matrix products over all steps at once may be taken in bfloat16. Its eight significant bits are few
for what a state changes per step, so that operations over time, their recurrent products too, run
outside of it, on what arrives.
"""

import torch
from torch import Tensor


def precise(values: Tensor) -> Tensor:
    """Values in float32, if they are in less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def without_autocast(values: Tensor) -> torch.autocast:
    """A context in which nothing is rounded further on the device of the values."""
    return torch.autocast(values.device.type, enabled=False)
