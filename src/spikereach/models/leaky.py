"""snnTorch's ``Leaky`` as a holder of parameters."""

import torch
from torch import nn

from spikereach.ops.lif.step import RESETS, LIFParameters, Reset, known_reset


class Leaky(nn.Module):
    """Decay and threshold under snnTorch's names, with the buffers that library registers.

    Published state dicts load unchanged, and the published footprints, which count
    ``graded_spikes_factor`` and ``reset_mechanism_val`` too, come out to the byte.

    Args:
        beta: decay of the membrane per step.
        threshold: an int makes an int64 buffer of 8 bytes, as in the published SNN2.
        reset: see :data:`spikereach.ops.lif.step.Reset`.
        learn: train ``beta`` and ``threshold``.
    Raises:
        ValueError: unknown reset.
    """

    def __init__(self, *, beta: float, threshold: float, reset: Reset, learn: bool = False):
        super().__init__()
        self.reset = known_reset(reset)
        constant = nn.Parameter if learn else nn.Buffer
        self.threshold, self.beta = constant(torch.tensor(threshold)), constant(torch.tensor(beta))
        self.register_buffer("graded_spikes_factor", torch.tensor(1.0))
        self.register_buffer("reset_mechanism_val", torch.tensor(RESETS[reset]))

    @property
    def neuron(self) -> LIFParameters:
        """Decay, clamped to [0, 1] as snnTorch does, and threshold."""
        return LIFParameters(self.beta.clamp(0, 1), self.threshold)
