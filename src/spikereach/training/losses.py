"""Training losses and the penalties added to them."""

import torch
from torch import Tensor, nn

from spikereach.config import Penalties
from spikereach.models.decoder import Decoder
from spikereach.ops.common.record import Record

QUIET_COUNT = 1e-3
"""Spikes per window below which ``spike_floor`` acts (Liu et al. 2024)."""
BUSY_COUNT = 10.0
"""Mean spikes per unit and window above which ``spike_ceiling`` acts (Liu et al. 2024)."""


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over steps, batch and both velocities."""
    return (prediction - target).square().mean()


def rmse(prediction: Tensor, target: Tensor) -> Tensor:
    """Root of :func:`mse`."""
    return mse(prediction, target).sqrt()


LOSSES = {"mse": mse, "rmse": rmse}


def weight_matrices(decoder: Decoder) -> dict[str, Tensor]:
    """Weights of the connection layers by parameter name, without biases and neuron constants.

    Parametrised weights come as the layer uses them.
    """
    return {
        f"{prefix}.{name}" if prefix else name: getattr(module, name)
        for prefix, module in decoder.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.RNNCellBase)
        for name in ("weight", "weight_ih", "weight_hh")
        if hasattr(module, name)
    }


def penalty(decoder: Decoder, record: Record, penalties: Penalties) -> Tensor:
    """Sum of the weighted penalties and of the decoder's own loss terms, a scalar.

    - ``spike_sum`` (Krausse et al. 2025): hidden spikes per step, summed over all units and
      layers, averaged over steps and batch.
    - ``weight_l1`` (Krausse et al. 2025): sum of the absolute weights of connection layers.
    - ``spike_floor`` (Liu et al. 2024): relu(1e-3 - n)^2, averaged over units and batch, with
      n the spikes of a unit in a window; summed over layers.
    - ``spike_ceiling`` (Liu et al. 2024): relu(m - 10)^2, averaged over the batch, with m the
      mean of n over the units of a layer; summed over layers.

    Args:
        decoder: whose weights are penalised.
        record: of the forward pass on a batch of windows.
        penalties: weight of each term; terms with weight zero are not computed.
    """
    total = next(decoder.parameters()).new_zeros((), dtype=torch.float32)
    for term in record.losses.values():
        total = total + term
    if penalties.weight_l1:
        weights = weight_matrices(decoder).values()
        total = total + penalties.weight_l1 * sum(weight.abs().sum() for weight in weights)
    for spikes in record.spikes.values():
        if penalties.spike_sum:
            total = total + penalties.spike_sum * spikes.sum(dim=2).mean()
        if penalties.spike_floor or penalties.spike_ceiling:
            counts = spikes.sum(dim=0)
            if penalties.spike_floor:
                quiet = torch.relu(QUIET_COUNT - counts).square().mean()
                total = total + penalties.spike_floor * quiet
            if penalties.spike_ceiling:
                busy = torch.relu(counts.mean(dim=1) - BUSY_COUNT).square().mean()
                total = total + penalties.spike_ceiling * busy
    return total
