"""The training loop: one for pretraining, fine-tuning and every retraining of compression.

An update is a function of the seed, the stage, its number and the weights: no random state
outlives it, so that a run can stop after any update and go on as if it had not.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from spikereach.config import Stage, Training
from spikereach.data.binning import BinnedSession
from spikereach.models.decoder import Decoder
from spikereach.ops.common.record import Record, recording
from spikereach.progress import progress_bar
from spikereach.training import optimisers
from spikereach.training.activity import warn
from spikereach.training.arithmetic import mixed, repeatable
from spikereach.training.errors import ExplosionError
from spikereach.training.feed import Batches, Feed, prepare, windows_of
from spikereach.training.losses import LOSSES, penalty
from spikereach.training.scoring import score, score_windows
from spikereach.training.seeds import RandomStreams
from spikereach.training.state import RunState, digest_of, selected, terminable

log = logging.getLogger(__name__)

COLUMNS = (
    *("epoch", "train_loss", "train_r2", "val_loss", "val_r2", "silent", "saturated"),
    *("learning_rate", "seconds"),
)
"""Of a history: one row per epoch, from 1. ``silent`` and ``saturated`` are shares of the hidden
units in training; ``seconds`` is wall time, all else reproducible."""


def train(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    *,
    training: Training,
    stage: Stage,
    areas: Sequence[str] | None,
    seed: int,
    resume: Path,
    device: str,
    progress: bool,
    events: Path | None = None,
    mask: Mapping[str, Tensor] | None = None,
    name: str = "decoder",
    watch: Callable[[Sequence[Mapping[str, float]]], bool] = lambda rows: False,
) -> pd.DataFrame:
    """Train a decoder in place; it ends with the weights of the epoch that the stage selects.

    The loss compares :meth:`Decoder.training_pairs` on windows. Training loss and R2 of an epoch
    are plain means over its batches, as they were trained on.

    Args:
        decoder: initialised or pretrained; ends in evaluation mode on ``device``.
        sessions: whose training and validation parts are used.
        training: split and standardisation.
        stage: the recipe.
        areas: cortex areas read; None: all.
        seed: 0 or more.
        resume: file for the state after every epoch. One that is there and fits is continued;
            it stays, so that a finished run returns at once, and the caller removes it.
        device: "cpu" or "cuda".
        progress: progress bars on stderr.
        events: folder for TensorBoard event files.
        mask: parameter name -> boolean tensor, False where a weight stays zero.
        name: of the run, for messages.
        watch: gets all rows so far before every epoch, of a resumed run too; the training ends
            where it returns True.
    Returns:
        the history, with columns :data:`COLUMNS`.
    Raises:
        SessionError: a part is shorter than one window.
        TrainingError: inputs do not fit; ExplosionError: loss or weights are not finite.
        WriteError: the resume file cannot be written.
        SystemExit: 143 after SIGTERM, once the state is saved.
    """
    device = torch.device(device)
    windows = windows_of(sessions, training, stage, areas)
    prepare(decoder, sessions, training, areas)
    known_by = digest_of(decoder, sessions, training, stage, areas, seed, device, mask)
    decoder.to(device)
    random = RandomStreams(seed, stage)
    batches = Batches(Feed(windows, decoder, device), stage, random)
    validate = _validation(decoder, sessions, training, stage, areas, device)
    # Sorted: the order of parameters must not depend on how the decoder came about.
    parameters = dict(sorted(decoder.named_parameters()))
    optimiser = optimisers.build(stage, parameters.values())
    masks = {parameters[key]: kept.to(device) for key, kept in (mask or {}).items()}
    state = RunState(decoder, optimiser, device, stage, resume, known_by)
    apply_masks(masks)
    if (state.epoch or state.update) and not state.finished:
        within = f" and {state.update} updates of the next" if state.update else ""
        log.warning("%s: continued after epoch %d%s", name, state.epoch, within)

    with (
        terminable(state.save) as stop_if_told,
        _event_log(events, state.epoch) as note,
        repeatable(device),
    ):
        while not (state.finished or watch(state.rows)):
            begun = time.perf_counter()
            optimiser.param_groups[0]["lr"] = rate = optimisers.learning_rate(stage, state.epoch)
            decoder.train()
            label = f"{name} epoch {state.epoch + 1}/{stage.epochs}"
            todo = range(state.update, len(batches))
            for update in progress_bar(todo, desc=label, disable=not progress):
                stop_if_told()
                spikes, target = batches.batch(state.epoch, update)
                torch.manual_seed(random.number("dropout", state.epoch, update))
                compared = step(decoder, optimiser, stage, spikes, target)
                apply_masks(masks)
                state.end_update(*compared)
            stop_if_told()
            trained, validated = state.means.loss_and_r2(), validate(stop_if_told)
            units, seconds = state.activity.silent_and_saturated(), time.perf_counter() - begun
            values = state.epoch + 1, *trained, *validated, *units, rate, seconds
            row = dict(zip(COLUMNS, values, strict=True))
            _check_finite(row, name)
            note(row)
            state.end_epoch(row)

    state.end()
    warn(name, state.rows, selected(state.rows, stage))
    return pd.DataFrame(state.rows, columns=COLUMNS)


def _validation(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    training: Training,
    stage: Stage,
    areas: Sequence[str] | None,
    device: torch.device,
) -> Callable[[Callable[[], None]], tuple[float, float]]:
    """A function that gives the validation loss and R2; it calls its argument now and then."""
    if stage.validate_on == "windows":
        windows = windows_of(sessions, training, stage, areas, validation=True)
        return partial(score_windows, decoder, Feed(windows, decoder, device), stage)
    parts = {"part": "val", "training": training, "areas": areas, "loss": stage.loss}
    return lambda between: score(decoder, sessions, **parts, between=between)


def step(
    decoder: Decoder,
    optimiser: torch.optim.Optimizer,
    stage: Stage,
    spikes: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor, Record]:
    """One update on a batch: spikes (window, B, C), standardised velocity (window, B, 2).

    Returns the predictions before the update and their targets, (..., 2), and what was recorded.
    """
    with parametrize.cached(), mixed(spikes.device):
        with recording(decoder) as record:
            prediction, target = decoder.training_pairs(spikes, target)
            prediction = prediction.float()
        loss = stage.loss_weight * LOSSES[stage.loss](prediction, target)
        loss = loss + penalty(decoder, record, stage.penalties)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if stage.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], stage.clip_norm)
    optimiser.step()
    return prediction.detach(), target, record


@torch.no_grad()
def apply_masks(masks: Mapping[Tensor, Tensor]) -> None:
    """Set the parameters to zero where their mask is False."""
    for parameter, kept in masks.items():
        parameter.mul_(kept)


def _check_finite(row: Mapping[str, float], name: str) -> None:
    if not all(math.isfinite(value) for value in row.values()):
        raise ExplosionError(
            f"{name}: training exploded in epoch {row['epoch']} at learning rate "
            f"{row['learning_rate']:g} (training loss {row['train_loss']:g}, validation R2 "
            f"{row['val_r2']:g}): lower the learning rate or set clip_norm"
        )


@contextmanager
def _event_log(folder: Path | None, epoch: int) -> Iterator[Callable[[Mapping], None]]:
    """A function that writes a row to TensorBoard's event files; without a folder, nothing."""
    if folder is None:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    with SummaryWriter(folder, purge_step=epoch + 1) as writer:
        yield lambda row: [writer.add_scalar(key, row[key], row["epoch"]) for key in COLUMNS[1:]]
