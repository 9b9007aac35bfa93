"""Quantisation-aware fine-tuning to fixed-point weights and buffers (Krausse et al. 2025)."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikereach import config
from spikereach.compression import Run
from spikereach.models.decoder import Decoder
from spikereach.ops.common.fixed_point import exponent_of, quantise, scaled


class FixedPointWeight(nn.Module):
    """Parametrisation: the fixed-point number next to a weight, straight-through gradient."""

    def __init__(self, integer_bits: int, fractional_bits: int):
        super().__init__()
        self.bits = integer_bits, fractional_bits

    def forward(self, weight: Tensor) -> Tensor:
        return quantise(weight, *self.bits)


class ScaledWeight(nn.Module):
    """Parametrisation: the matrix next to a weight whose elements are whole numbers of ``bits``
    times a power of two, chosen once, straight-through gradient."""

    def __init__(self, bits: int, weight: Tensor):
        super().__init__()
        self.bits, self.exponent = bits, exponent_of(weight, bits)

    def forward(self, weight: Tensor) -> Tensor:
        return scaled(weight, self.bits, self.exponent)


def apply(run: Run, step: config.FixedPoint) -> None:
    """Retrain with all parameters on the grid of ``weight_bits``, buffers on ``buffer_bits``.

    Where ``weight_bits`` is one number, each matrix has a grid of its own, fitted to the weights
    that come, and other parameters are on that of the buffers.

    Without ``buffer_bits``, buffers are in half precision. The decoder's ``unstored`` parameters
    stay as they are, because it stores only what it computes from them.

    Layers compute with quantised parameters, gradients update full-precision ones behind them.
    Those start inside the grid's range, because a saturated weight gets no gradient. In the
    end the decoder's parameters are the quantised ones. Pruned weights stay zero.
    """
    owners = constrain(run.decoder, step)
    mask = dict(run.mask)
    for prefix, _, name in owners:
        if (dotted := _dotted(prefix, name)) in mask:
            mask[_dotted(prefix, f"parametrizations.{name}.original")] = mask.pop(dotted)
    unquantised, run.mask = run.mask, mask
    run.retrain(step.retrain)
    run.mask = unquantised
    for _, module, name in owners:
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def constrain(decoder: Decoder, step: config.FixedPoint) -> list[tuple[str, nn.Module, str]]:
    """Have a folded decoder compute with numbers on the grid, until its parametrisations are
    removed.

    Returns the owner of each parameter: its dotted name, the module, the parameter's own name.
    """
    owners = [
        (prefix, module, name)
        for prefix, module in decoder.named_modules()
        for name in [name for name, _ in module.named_parameters(recurse=False)]
        if _dotted(prefix, name) not in decoder.unstored
    ]
    decoder.weight_format, decoder.buffer_format = step.formats
    for _, module, name in owners:
        parametrize.register_parametrization(module, name, _grid(getattr(module, name), decoder))
    return owners


@torch.no_grad()
def _grid(parameter: nn.Parameter, decoder: Decoder) -> nn.Module:
    """The parametrisation of a parameter, which then lies inside its range."""
    bits, ends = decoder.weight_format, torch.tensor([-torch.inf, torch.inf])
    if isinstance(bits, int):
        if parameter.ndim > 1:
            return ScaledWeight(bits, parameter)
        bits = decoder.formats.constants
    parameter.clamp_(*quantise(ends, *bits).tolist())
    return FixedPointWeight(*bits)


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
