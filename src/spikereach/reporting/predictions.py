"""Decoded and true movement of a result: the content of ``predictions.h5``, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from spikereach.reporting.collect import ResultError


@dataclass(frozen=True, eq=False)
class Predictions:
    """What `evaluation.evaluate.write_predictions` wrote; T test steps, C channels."""

    system: str
    session: str
    seed: int
    first_step: int
    """Step of the session at which the test part begins."""
    dt_s: float
    predicted: np.ndarray
    """(T, 2) float32, in the session's unit of position per step, as ``velocity``."""
    velocity: np.ndarray
    position: np.ndarray
    spikes: np.ndarray
    """(T, C) uint8 of 0 and 1: the channels that the decoder reads."""


def read(path: Path) -> Predictions:
    """Read a ``predictions.h5``.

    Raises:
        ResultError: the file is missing or damaged.
    """
    try:
        with h5py.File(path) as file:
            about = dict(file.attrs)
            arrays = {name: file[name][()] for name in ("predicted", "velocity", "position")}
            spikes = np.unpackbits(file["spikes"][()], axis=1, count=int(about["channels"]))
            return Predictions(
                system=str(about["system"]),
                session=str(about["session"]),
                seed=int(about["seed"]),
                first_step=int(about["first_step"]),
                dt_s=float(about["dt_s"]),
                spikes=spikes,
                **arrays,
            )
    except (OSError, KeyError, ValueError) as error:
        raise ResultError(f"{path}: cannot be read ({error}); evaluate this system again") from None
