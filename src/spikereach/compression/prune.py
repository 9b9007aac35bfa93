"""Iterative magnitude pruning with retraining (Liu et al. 2024)."""

import copy
import logging
import math
from typing import Literal

import torch
from torch import Tensor

from spikereach import config
from spikereach.compression import Run
from spikereach.models.decoder import Decoder
from spikereach.training.errors import TrainingError
from spikereach.training.losses import weight_matrices

log = logging.getLogger(__name__)


def apply(run: Run, step: config.Prune) -> None:
    """Find the highest sparsity that retraining makes good, as the authors' code does.

    Each trial starts from the unpruned weights: the smallest become zero, by ``scope``, and the
    rest is retrained. Sparsity grows from ``start`` by ``step`` while the training R2 of the epoch
    whose weights are kept stays within ``max_drop`` (None: whatever it is) of that of the training
    before; from the last good one it goes on by ``fine_step``, until it meets a sparsity that
    failed: with the same draws it would fail again. The decoder ends with the last good weights
    and ``run.mask`` with their mask; where no trial is good, both stay as they were.

    Raises:
        TrainingError: the checkpoint does not know the training R2 to compare with.
    """
    if run.train_r2 is None:
        raise TrainingError(f"{run.name}: the checkpoint has no training R2: train it again")
    unpruned = {key: value.clone() for key, value in run.decoder.state_dict().items()}
    earlier = dict(run.mask)
    before = run.train_r2
    least = -math.inf if step.max_drop is None else before - step.max_drop * abs(before)
    accepted = unpruned, earlier, before
    tried: set[float] = set()
    sparsity, increment = step.start, step.step
    while 0 < sparsity <= step.stop and sparsity not in tried:
        tried.add(sparsity)
        run.decoder.load_state_dict(unpruned)
        run.mask = magnitude_mask(run.decoder, sparsity, earlier, step.scope)
        run.retrain(step.retrain, sparsity=sparsity)
        r2 = run.train_r2
        good = r2 >= least
        log.info(
            "%s: sparsity %.2f, training R2 %.4f after %.4f: %s",
            run.name, sparsity, r2, before, "kept" if good else "too far",
        )  # fmt: skip
        if good:
            state = run.decoder.state_dict()
            accepted = {key: value.clone() for key, value in state.items()}, run.mask, r2
        elif increment == step.step:
            sparsity -= step.step
            increment = step.fine_step
        else:
            break
        sparsity = round(sparsity + increment, 6)
    state, run.mask, run.train_r2 = accepted
    run.decoder.load_state_dict(state)


def magnitude_mask(
    decoder: Decoder,
    sparsity: float,
    earlier: dict[str, Tensor],
    scope: Literal["matrix", "global"] = "matrix",
) -> dict[str, Tensor]:
    """False for the ``floor(sparsity * n)`` smallest of n weights, else True.

    The n weights are those of each matrix, or of all that the deployed decoder has. Of equal
    weights the first goes first. What ``earlier`` masks stays masked.
    """
    deployed = copy.deepcopy(decoder)
    deployed.fold()
    kept_by_it = weight_matrices(deployed).keys()
    weights = {
        name: weight.detach().cpu().abs()
        for name, weight in weight_matrices(decoder).items()
        if name in kept_by_it
    }
    groups = [list(weights)] if scope == "global" else [[name] for name in weights]
    mask = {}
    for names in groups:
        magnitudes = torch.cat([weights[name].flatten() for name in names])
        kept = torch.ones_like(magnitudes, dtype=torch.bool)
        # The tiny addend undoes the rounding of products such as 0.55 * 100.
        kept[magnitudes.argsort(stable=True)[: int(sparsity * len(kept) + 1e-6)]] = False
        parts = kept.split([weights[name].numel() for name in names])
        for name, part in zip(names, parts, strict=True):
            mask[name] = part.view(weights[name].shape)
            if name in earlier:
                mask[name] &= earlier[name]
    return mask
