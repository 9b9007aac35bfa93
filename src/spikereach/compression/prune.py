"""Iterative magnitude pruning with retraining (Liu et al. 2024)."""

import logging

import torch
from torch import Tensor

from spikereach import config
from spikereach.compression import Run
from spikereach.models.decoder import Decoder
from spikereach.training.losses import weight_matrices

log = logging.getLogger(__name__)


def apply(run: Run, step: config.Prune) -> None:
    """Find the highest sparsity that retraining makes good, as the authors' code does.

    Each trial starts from the unpruned weights: the smallest of every weight matrix become
    zero, the rest is retrained. Sparsity grows from ``start`` by ``step`` while the R2 of the
    training part stays within ``max_drop`` of the unpruned decoder's; from the last good one
    it goes on by ``fine_step``. The decoder ends with the last good weights and ``run.mask``
    with their mask; where no trial is good, both stay as they were.
    """
    unpruned = {key: value.clone() for key, value in run.decoder.state_dict().items()}
    earlier = dict(run.mask)
    before = run.train_r2()
    least = before - step.max_drop * abs(before)
    accepted = unpruned, earlier
    tried: set[float] = set()
    sparsity, increment = step.start, step.step
    while 0 < sparsity <= step.stop and sparsity not in tried:
        tried.add(sparsity)
        run.decoder.load_state_dict(unpruned)
        run.mask = magnitude_mask(run.decoder, sparsity, earlier)
        run.retrain(step.retrain, sparsity=sparsity)
        r2 = run.train_r2()
        good = r2 >= least
        log.info(
            "%s: sparsity %.2f, training R2 %.4f after %.4f: %s",
            run.name, sparsity, r2, before, "kept" if good else "too far",
        )  # fmt: skip
        if good:
            state = run.decoder.state_dict()
            accepted = {key: value.clone() for key, value in state.items()}, run.mask
        elif increment == step.step:
            sparsity -= step.step
            increment = step.fine_step
        else:
            break
        sparsity = round(sparsity + increment, 6)
    state, run.mask = accepted
    run.decoder.load_state_dict(state)


def magnitude_mask(
    decoder: Decoder, sparsity: float, earlier: dict[str, Tensor]
) -> dict[str, Tensor]:
    """False for the ``floor(sparsity * n)`` smallest of each matrix's n weights, else True.

    Of equal weights the first goes first. What ``earlier`` masks stays masked.
    """
    mask = {}
    for name, weight in weight_matrices(decoder).items():
        magnitudes = weight.detach().cpu().abs().flatten()
        kept = torch.ones_like(magnitudes, dtype=torch.bool)
        # The tiny addend undoes the rounding of products such as 0.55 * 100.
        kept[magnitudes.argsort(stable=True)[: int(sparsity * len(kept) + 1e-6)]] = False
        mask[name] = kept.view(weight.shape)
        if name in earlier:
            mask[name] &= earlier[name]
    return mask
