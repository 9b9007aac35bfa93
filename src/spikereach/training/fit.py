"""From a configured system and sessions to a checkpoint: what every train job calls."""

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from spikereach.config import System
from spikereach.data.binning import BinnedSession
from spikereach.data.windows import Windows
from spikereach.models import contract
from spikereach.models.checkpoint import Checkpoint, load_parameters
from spikereach.models.decoder import Decoder
from spikereach.models.zoo import build
from spikereach.training.errors import TrainingError
from spikereach.training.feed import prepare, windows_of
from spikereach.training.loop import COLUMNS, train
from spikereach.training.scoring import score
from spikereach.training.seeds import RandomStreams
from spikereach.training.state import selected


def fit(
    system: System,
    sessions: Sequence[BinnedSession],
    *,
    system_name: str,
    dataset: str,
    stage: Literal["pretrain", "finetune"],
    seed: int,
    pretrained: Checkpoint | None = None,
    provenance: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Train a system from scratch or from a pretrained checkpoint.

    Args:
        system: with a ``training`` of its own.
        sessions: one, or all of a monkey for pretraining.
        system_name: its name in the configuration.
        dataset: session or monkey, as in the result's path.
        stage: which stage of ``system.training``; null stands for a closed form.
        seed: 0 or more.
        pretrained: weights to start from; from scratch where there is none.
        provenance: put into the checkpoint.
        options: resume, device, progress, events and watch, as :func:`.train` takes them.
    Returns:
        the checkpoint and the history.
    Raises:
        TrainingError: sessions or checkpoint do not fit the system, or training exploded.
        SessionError: a part is shorter than one window.
        ContractError: the decoder does not keep to the protocol.
    """
    name = f"{system_name} on {dataset}, seed {seed}"
    training = system.training
    recipe = getattr(training, stage)
    monkeys = {session.monkey for session in sessions}
    layouts = {tuple(np.asarray(s.areas)[s.channels(system.areas)]) for s in sessions}
    if len(monkeys) != 1 or len(layouts) != 1:
        raise TrainingError(
            f"{name}: the sessions differ in monkey ({', '.join(sorted(monkeys))}) or in the "
            "channels per area: train on sessions of one monkey with one layout"
        )
    areas = tuple(str(area) for area in layouts.pop())

    random = RandomStreams(seed, recipe)
    with torch.random.fork_rng([]):
        torch.manual_seed(random.number("weights"))
        decoder = build(system, len(areas), areas=areas)
    contract.check(decoder)
    if pretrained is not None:
        _transfer(pretrained, decoder, areas)
    elif recipe is not None:
        windows = windows_of(sessions, training, recipe, system.areas)
        generator = torch.Generator().manual_seed(random.number("initialise"))
        try:
            decoder.initialise(_area_rates_hz(windows, areas), generator)
        except ValueError as error:
            raise TrainingError(f"{name}: {error}") from error

    if recipe is None:
        history = _fit_closed_form(decoder, sessions, training, system.areas, name)
    else:
        history = train(
            decoder,
            sessions,
            training=training,
            stage=recipe,
            areas=system.areas,
            seed=seed,
            name=name,
            **options,
        )
    checkpoint = Checkpoint(
        decoder=decoder.cpu(),
        system=system,
        system_name=system_name,
        dataset=dataset,
        monkey=monkeys.pop(),
        areas=areas,
        seed=seed,
        train_r2=selected(history.to_dict("records"), recipe)["train_r2"],
        provenance=provenance or {},
    )
    return checkpoint, history


def _transfer(pretrained: Checkpoint, decoder: Decoder, areas: Sequence[str]) -> None:
    """Copy the weights of a pretrained checkpoint into a decoder that reads ``areas``."""
    if tuple(pretrained.areas) != tuple(areas):
        raise TrainingError(
            f"the checkpoint of {pretrained.system_name} on {pretrained.dataset} reads "
            f"{_layout(pretrained.areas)}, the session has {_layout(areas)}: "
            "pretrain on sessions with the same areas and channels"
        )
    try:
        load_parameters(decoder, pretrained.decoder.state_dict())
    except ValueError as error:
        raise TrainingError(
            f"the checkpoint of {pretrained.system_name} on {pretrained.dataset}: {error}; "
            "pretrain with the same sizes"
        ) from error


def _fit_closed_form(decoder, sessions, training, areas, name) -> pd.DataFrame:
    begun = time.perf_counter()
    prepare(decoder, sessions, training, areas)
    parts = [
        (session, stretch, session.channels(areas))
        for session in sessions
        for stretch in session.stretches(session.split(training.split).train)
    ]
    spikes = np.concatenate([s.spikes[p.start : p.stop, c] for s, p, c in parts])
    velocity = np.concatenate([s.velocity[p.start : p.stop] for s, p, _ in parts])
    joints = np.cumsum([len(stretch) for _, stretch, _ in parts])[:-1].tolist()
    target = torch.from_numpy(velocity) - torch.tensor(decoder.standardisation.offset)
    target = target / torch.tensor(decoder.standardisation.scale)
    try:
        fitted = decoder.fit_closed_form(torch.from_numpy(spikes).float(), target, joints)
    except ValueError as error:
        raise TrainingError(f"{name}: {error}") from error
    if not fitted:
        raise TrainingError(
            f"{name}: {type(decoder).__name__} is trained by gradient descent: "
            "give its `training` a stage instead of null"
        )
    row = {"epoch": 1, "silent": 0.0, "saturated": 0.0, "learning_rate": 0.0}
    row["seconds"] = time.perf_counter() - begun
    for part in ("train", "val"):
        row[f"{part}_loss"], row[f"{part}_r2"] = score(
            decoder, sessions, part=part, training=training, areas=areas
        )
    if not np.isfinite([row["train_loss"], row["val_loss"]]).all():
        raise TrainingError(f"{name}: the closed form has no finite solution on these data")
    return pd.DataFrame([row], columns=COLUMNS)


def _area_rates_hz(windows: Windows, areas: Sequence[str]) -> torch.Tensor:
    """The mean firing rate of each channel's area, (C,)."""
    rates = pd.Series(windows.rates_hz()).groupby(list(areas), sort=False).transform("mean")
    return torch.tensor(rates.to_numpy())


def _layout(areas: Sequence[str]) -> str:
    return ", ".join(f"{list(areas).count(a)} channels of {a}" for a in dict.fromkeys(areas))
