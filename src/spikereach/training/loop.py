"""The training loop: one for pretraining, fine-tuning and every retraining of compression.

An update is a function of the seed, the stage, its number and the weights: no random state
outlives it, so that a run can stop after any update and go on as if it had not.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from spikereach.config import Stage, Training
from spikereach.data.binning import BinnedSession
from spikereach.data.windows import Windows
from spikereach.evaluation.errors import EvaluationError
from spikereach.identity import array_checksum, digest
from spikereach.models import tensorfile
from spikereach.models.decoder import Decoder, Trace
from spikereach.models.passes import as_input, in_pieces, usable_steps
from spikereach.models.tensorfile import CheckpointError
from spikereach.progress import progress_bar
from spikereach.training import optimisers
from spikereach.training.feed import make_feed
from spikereach.training.losses import LOSSES, penalty

log = logging.getLogger(__name__)

COLUMNS = ("epoch", "train_loss", "train_r2", "val_loss", "val_r2", "learning_rate", "seconds")
"""Of a history: one row per epoch, from 1; ``seconds`` is wall time, all else reproducible."""

PIECE = 2**15
"""Steps decoded per call in :func:`score`; bounds its memory."""


class TrainingError(RuntimeError):
    """Training cannot go on: names the run, the value and the remedy."""


class ExplosionError(TrainingError):
    """Loss or weights are no longer finite."""


def train(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    *,
    training: Training,
    stage: Stage,
    areas: Sequence[str],
    seed: int,
    resume: Path,
    device: str,
    progress: bool,
    events: Path | None = None,
    mask: Mapping[str, Tensor] | None = None,
    name: str = "decoder",
    stop: Callable[[Sequence[Mapping[str, float]]], bool] = lambda rows: False,
) -> pd.DataFrame:
    """Train a decoder in place; it ends with the weights of its best validation epoch.

    The loss compares :meth:`Decoder.decode` on windows of the training part with the velocity;
    the validation part of each session is decoded as one continuous stream.

    Args:
        decoder: initialised or pretrained; ends in evaluation mode on ``device``.
        sessions: whose training and validation parts are used.
        training: split and standardisation.
        stage: the recipe.
        areas: cortex areas read.
        seed: 0 or more.
        resume: file for the state after every epoch. One that is there and fits is continued;
            it stays, so that a finished run returns at once, and the caller removes it.
        device: "auto", "cpu" or "cuda".
        progress: progress bars on stderr.
        events: folder for TensorBoard event files.
        mask: parameter name -> boolean tensor, False where a weight stays zero.
        name: of the run, for messages.
        stop: asked before every epoch, with the rows of the history so far (those of a resumed
            run included); True ends the training.
    Returns:
        the history, with columns :data:`COLUMNS`.
    Raises:
        SessionError: a part is shorter than one window.
        ExplosionError: loss or weights are no longer finite.
        TrainingError: inputs do not fit.
        WriteError: the resume file cannot be written.
        SystemExit: 143 after SIGTERM, once the state is saved.
    """
    device = device_of(device)
    windows = Windows(sessions, "train", training.split, areas, stage.window, stage.stride)
    offset, scale = standardise(decoder, sessions, training)
    check_channels(decoder, sessions, areas)
    inputs = _inputs_digest(decoder, sessions, training, stage, areas, seed, device, mask)

    feed = make_feed(windows, device)
    decoder.to(device)
    # Sorted: the order of parameters must not depend on how the decoder came about.
    parameters = dict(sorted(decoder.named_parameters()))
    optimiser = optimisers.build(stage, parameters.values())
    masks = {parameters[key]: value.to(device) for key, value in (mask or {}).items()}
    state = RunState(decoder, optimiser, Sums(device), resume, inputs)
    state.restore()
    apply_masks(masks)

    drawn = len(windows)
    if stage.updates_per_epoch is not None:
        drawn = stage.updates_per_epoch * stage.batch
    updates = math.ceil(drawn / stage.batch)
    random = RandomStreams(seed, stage)
    loss_function = LOSSES[stage.loss]
    offset, scale = offset.to(device), scale.to(device)

    with (
        Termination(state.save) as termination,
        _event_writer(events, state.epoch) as writer,
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        while state.epoch < stage.epochs and not state.out_of_patience(stage.patience):
            if stop(state.rows):
                break
            begun = time.perf_counter()
            rate = optimisers.learning_rate(stage, state.epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate
            order = random.order(len(windows), drawn, state.epoch)
            decoder.train()
            bar = progress_bar(
                range(state.update, updates),
                desc=f"{name} epoch {state.epoch + 1}/{stage.epochs}",
                disable=not progress,
            )
            for update in bar:
                termination.check()
                spikes, velocity = feed.batch(
                    order[update * stage.batch : (update + 1) * stage.batch],
                    jitter=stage.jitter,
                    rng=random.generator("jitter", state.epoch, update),
                )
                target = (velocity - offset) / scale

                torch.manual_seed(random.number("dropout", state.epoch, update))
                trace = Trace()
                with (
                    parametrize.cached(),
                    torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
                ):
                    prediction = decoder.decode(spikes, trace=trace).float()
                    loss = loss_function(prediction, target)
                    loss = loss + penalty(decoder, trace, stage.penalties)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                if stage.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(parameters.values(), stage.clip_norm)
                optimiser.step()
                apply_masks(masks)
                state.sums.add(prediction.detach(), target)
                state.update = update + 1

            termination.check()
            row = {"epoch": state.epoch + 1}
            row["train_loss"], row["train_r2"] = state.sums.loss_and_r2(stage.loss)
            row["val_loss"], row["val_r2"] = score(
                decoder,
                sessions,
                part="val",
                training=training,
                areas=areas,
                loss=stage.loss,
                between=termination.check,
            )
            row["learning_rate"] = rate
            row["seconds"] = time.perf_counter() - begun
            if not all(math.isfinite(value) for value in row.values()):
                raise ExplosionError(
                    f"{name}: training exploded in epoch {row['epoch']} at learning rate {rate:g} "
                    f"(training loss {row['train_loss']:g}, validation R2 {row['val_r2']:g}): "
                    "lower the learning rate or set clip_norm"
                )
            if writer is not None:
                for key in COLUMNS[1:]:
                    writer.add_scalar(key, row[key], row["epoch"])
            state.end_epoch(row)
            state.save()

    decoder.load_state_dict(state.best)
    decoder.eval()
    return pd.DataFrame(state.rows, columns=COLUMNS)


class RunState:
    """Everything of a run that must survive a kill, and its file."""

    KIND = "resume file"

    def __init__(
        self,
        decoder: Decoder,
        optimiser: torch.optim.Optimizer,
        sums: Sums,
        path: Path,
        inputs: str,
    ):
        self.decoder, self.optimiser, self.sums = decoder, optimiser, sums
        self.path, self.inputs = Path(path), inputs
        self.epoch = 0
        self.update = 0
        """Updates done in the current epoch."""
        self.rows: list[dict] = []
        self.best: dict[str, Tensor] = {}

    def end_epoch(self, row: dict) -> None:
        """Close the current epoch, keeping its weights where its validation R2 is the best."""
        if all(row["val_r2"] > earlier["val_r2"] for earlier in self.rows):
            self.best = {key: value.clone() for key, value in self.decoder.state_dict().items()}
        self.rows.append(row)
        self.epoch += 1
        self.update = 0
        self.sums.values.zero_()

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether the last ``patience`` epochs brought no better validation R2."""
        if patience is None or not self.rows:
            return False
        scores = [row["val_r2"] for row in self.rows]
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def save(self) -> None:
        """Write the file; an earlier one stays until this one is complete."""
        tensors = {"sums": self.sums.values}
        tensors |= {f"decoder/{key}": value for key, value in self.decoder.state_dict().items()}
        tensors |= {f"best/{key}": value for key, value in self.best.items()}
        for index, entries in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{key}": value for key, value in entries.items()}
        tensorfile.write(
            self.path,
            self.KIND,
            tensors,
            {
                "inputs": self.inputs,
                "epoch": self.epoch,
                "update": self.update,
                "rows": self.rows,
            },
        )

    def restore(self) -> None:
        """Continue from the file where it is there, intact and of the same inputs."""
        if not self.path.exists():
            return
        try:
            tensors, metadata = tensorfile.read(self.path, self.KIND)
        except CheckpointError as error:
            log.warning("training starts anew: %s", error)
            return
        if metadata["inputs"] != self.inputs:
            log.warning(
                "training starts anew: %s belongs to other data, settings or seed", self.path
            )
            return
        device = self.sums.values.device
        self.decoder.load_state_dict(_below(tensors, "decoder"))
        self.best = {key: value.to(device) for key, value in _below(tensors, "best").items()}
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, "optimiser").items():
            index, field = key.split("/")
            entries.setdefault(int(index), {})[field] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": entries, "param_groups": groups})
        self.sums.values.copy_(tensors["sums"])
        self.epoch, self.update = metadata["epoch"], metadata["update"]
        self.rows = metadata["rows"]


class Sums:
    """Running sums behind loss and R2, kept on the device so that nobody waits for it."""

    def __init__(self, device: torch.device):
        # steps; sum of targets, sum of their squares, sum of squared errors: x and y each
        self.values = torch.zeros(7, dtype=torch.float64, device=device)

    def add(self, prediction: Tensor, target: Tensor) -> None:
        """Add steps of any shape (..., 2)."""
        prediction, target = (each.double().reshape(-1, 2) for each in (prediction, target))
        self.values[0] += len(target)
        self.values[1:3] += target.sum(0)
        self.values[3:5] += target.square().sum(0)
        self.values[5:7] += (prediction - target).square().sum(0)

    def loss_and_r2(self, loss: str) -> tuple[float, float]:
        """The loss over all steps, and R2 as NeuroBench: the mean of the x and the y R2.

        R2 is NaN where a velocity does not vary.
        """
        steps, *sums = self.values.tolist()
        total, squares, errors = np.asarray(sums[0:2]), np.asarray(sums[2:4]), np.asarray(sums[4:6])
        mse = errors.mean() / steps
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = float(np.mean(1 - errors / (squares - total**2 / steps)))
        return float(mse if loss == "mse" else np.sqrt(mse)), r2


class RandomStreams:
    """Independent random streams, each a pure function of seed, stage, purpose and time."""

    PURPOSES = ("weights", "initialise", "order", "jitter", "dropout")

    def __init__(self, seed: int, stage: Stage | None):
        self.entropy = [seed, int(digest({} if stage is None else stage), 16)]

    def number(self, purpose: str, *when: int) -> int:
        """A seed of 63 bits."""
        return int(self._sequence(purpose, when).generate_state(1, np.uint64)[0] >> 1)

    def generator(self, purpose: str, *when: int) -> np.random.Generator:
        return np.random.default_rng(self._sequence(purpose, when))

    def order(self, windows: int, drawn: int, epoch: int) -> np.ndarray:
        """``drawn`` window numbers of an epoch; none comes twice before all have come once."""
        generator = self.generator("order", epoch)
        rounds = math.ceil(drawn / windows)
        return np.concatenate([generator.permutation(windows) for _ in range(rounds)])[:drawn]

    def _sequence(self, purpose: str, when: tuple[int, ...]) -> np.random.SeedSequence:
        key = (self.PURPOSES.index(purpose), *when)
        return np.random.SeedSequence(self.entropy, spawn_key=key)


class Termination:
    """Meets SIGTERM between two updates: saves, then exits with 143.

    Only the main thread can handle signals; elsewhere this does nothing.
    """

    def __init__(self, save: Callable[[], None]):
        self.save = save
        self.requested = False

    def __enter__(self) -> Termination:
        self.handles = threading.current_thread() is threading.main_thread()
        if self.handles:
            self.previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, *_) -> None:
        if self.handles:
            signal.signal(signal.SIGTERM, self.previous or signal.SIG_DFL)

    def _request(self, *_) -> None:
        self.requested = True

    def check(self) -> None:
        """Save and exit where SIGTERM has come."""
        if self.requested:
            self.save()
            log.warning("stopped by SIGTERM; run again to continue")
            raise SystemExit(128 + signal.SIGTERM)


@torch.no_grad()
def score(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    *,
    part: str,
    training: Training,
    areas: Sequence[str],
    loss: str = "mse",
    between: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Loss (on standardised velocities) and R2 of a part, averaged over the sessions.

    Each session's part is decoded as one continuous stream in evaluation mode. Windowed
    decoders see whole windows only, as in evaluation.

    Args:
        decoder: ends in evaluation mode.
        sessions: one or several.
        part: "train", "val" or "test".
        training: which split.
        areas: cortex areas read.
        loss: a name of :data:`spikereach.training.losses.LOSSES`.
        between: called now and then, so that a long run can be stopped.
    Raises:
        TrainingError: the part is shorter than a windowed decoder's window.
    """
    decoder.eval()
    results = []
    for session in sessions:
        steps = getattr(session.split(training.split), part)
        try:
            end = steps.start + usable_steps(decoder, len(steps))
        except EvaluationError as error:
            raise TrainingError(f"{session.name}, {part} part: {error}") from error
        spikes = as_input(decoder, session.spikes[steps.start : end, session.channels(areas)])
        target = torch.from_numpy(session.velocity[steps.start : end]).to(spikes.device)
        offset = target.new_tensor(decoder.output_offset)
        scale = target.new_tensor(decoder.output_scale)
        sums, done = Sums(spikes.device), 0
        with parametrize.cached():
            for velocity, _ in in_pieces(decoder, spikes, PIECE, traced=False):
                between()
                true = target[done : done + len(velocity)]
                sums.add((velocity[:, 0].float() - offset) / scale, (true - offset) / scale)
                done += len(velocity)
        results.append(sums.loss_and_r2(loss))
    mean_loss, mean_r2 = np.mean(results, axis=0).tolist()
    return mean_loss, mean_r2


def standardise(
    decoder: Decoder, sessions: Sequence[BinnedSession], training: Training
) -> tuple[Tensor, Tensor]:
    """Set the decoder's output scale and offset from the training parts; returns offset, scale.

    Raises:
        TrainingError: a velocity does not vary.
    """
    offset, scale = np.zeros(2), np.ones(2)
    if training.standardise:
        parts = [session.split(training.split).train for session in sessions]
        velocity = np.concatenate(
            [s.velocity[p.start : p.stop] for s, p in zip(sessions, parts, strict=True)]
        ).astype(np.float64)
        offset, scale = velocity.mean(axis=0), velocity.std(axis=0)
        if not (scale > 0).all():
            names = ", ".join(session.name for session in sessions)
            raise TrainingError(f"{names}: the velocity does not vary in the training part")
    decoder.output_offset = tuple(offset.tolist())
    decoder.output_scale = tuple(scale.tolist())
    return torch.tensor(offset, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)


@torch.no_grad()
def apply_masks(masks: Mapping[Tensor, Tensor]) -> None:
    """Set the parameters to zero where their mask is False."""
    for parameter, kept in masks.items():
        parameter.mul_(kept)


def check_channels(
    decoder: Decoder, sessions: Sequence[BinnedSession], areas: Sequence[str]
) -> None:
    """Raises:
    TrainingError: a session has another number of channels in these areas than the decoder.
    """
    for session in sessions:
        found = len(session.channels(areas))
        if found != decoder.channels:
            raise TrainingError(
                f"{session.name} has {found} channels in {', '.join(areas)}, the decoder reads "
                f"{decoder.channels}: use a decoder trained on the same areas and electrodes"
            )


def device_of(name: str) -> torch.device:
    """The device of a configured name; "auto" is CUDA where present, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _inputs_digest(decoder, sessions, training, stage, areas, seed, device, mask) -> str:
    """What a run depends on; a resume file with another digest is of another run."""
    settings = {
        name: {
            key: repr(value)
            for key, value in vars(module).items()
            if key != "training" and isinstance(value, bool | int | float | str | tuple)
        }
        for name, module in decoder.named_modules()
    }
    data = [
        array_checksum(
            {"spikes": each.spikes, "velocity": each.velocity, "segments": each.segments},
            [each.name, each.areas],
        )
        for each in sessions
    ]
    return digest(
        {
            "decoder": [type(decoder).__qualname__, array_checksum(decoder.state_dict())],
            "settings": settings,
            "data": data,
            "split": training.split,
            "standardise": training.standardise,
            "stage": stage,
            "areas": areas,
            "seed": seed,
            "device": device.type,
            "mask": array_checksum(mask or {}),
            "torch": torch.__version__,
        }
    )


def _below(tensors: Mapping[str, Tensor], folder: str) -> dict[str, Tensor]:
    prefix = folder + "/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _event_writer(folder: Path | None, epoch: int):
    if folder is None:
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    return closing(SummaryWriter(folder, purge_step=epoch + 1))
