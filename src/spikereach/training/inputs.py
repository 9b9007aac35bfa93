"""What goes into a training, checked and summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from spikereach.config import Stage, Training
from spikereach.data.binning import BinnedSession
from spikereach.identity import array_checksum
from spikereach.models.decoder import Decoder, Standardisation
from spikereach.training.errors import TrainingError


def prepare(
    decoder: Decoder, sessions: Sequence[BinnedSession], training: Training, areas: Sequence[str]
) -> None:
    """Set the decoder's output scale and offset from the sessions' training parts.

    Raises:
        TrainingError: a velocity does not vary, or a session has another number of channels in
            these areas than the decoder.
    """
    for session in sessions:
        found = len(session.channels(areas))
        if found != decoder.channels:
            raise TrainingError(
                f"{session.name} has {found} channels in {', '.join(areas)}, the decoder reads "
                f"{decoder.channels}: use a decoder trained on the same areas and electrodes"
            )
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
    decoder.standardisation = Standardisation(tuple(scale.tolist()), tuple(offset.tolist()))


def digest_of(
    decoder: Decoder,
    sessions: Sequence[BinnedSession],
    training: Training,
    stage: Stage,
    areas: Sequence[str],
    seed: int,
    device: torch.device,
    mask: Mapping[str, Tensor] | None,
) -> str:
    """What a run depends on; a resume file with another digest is of another run."""
    settings = {
        name: {
            key: repr(value)
            for key, value in vars(module).items()
            if key != "training" and isinstance(value, bool | int | float | str | tuple)
        }
        for name, module in decoder.named_modules()
    }
    arrays = {f"decoder/{name}": tensor for name, tensor in decoder.state_dict().items()}
    arrays |= {f"mask/{name}": kept for name, kept in (mask or {}).items()}
    for number, session in enumerate(sessions):
        for name in ("spikes", "velocity", "segments"):
            arrays[f"session{number}/{name}"] = getattr(session, name)
    metadata = {
        "decoder": type(decoder).__qualname__,
        "settings": settings,
        "sessions": [[session.name, session.areas] for session in sessions],
        "split": training.split,
        "standardise": training.standardise,
        "stage": stage,
        "areas": areas,
        "seed": seed,
        "device": device.type,
        "torch": torch.__version__,
    }
    return array_checksum(arrays, metadata)
