"""Decoded and true movement of a result: the content of ``predictions.h5``, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from spikereach.files import read_error
from spikereach.kinds import Kind, again, mistaken
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
        if problem := mistaken(path, Kind.PREDICTIONS):
            raise ResultError(f"{path}: {problem}")
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
    except ResultError:
        raise
    except (OSError, KeyError, ValueError, MemoryError) as error:
        if problem := read_error(path, error):
            raise problem from error
        remedy = again(path, Kind.PREDICTIONS)
        raise ResultError(f"{path}: cannot be read ({error}); {remedy}") from None


def stretch(
    found: Sequence[Predictions], start_s: float, seconds: float, *, shorten: bool = False
) -> slice:
    """The steps of a part of what all systems decoded, of one session.

    Args:
        found: one of each system.
        start_s: in seconds after the start of the test part.
        seconds: its length.
        shorten: whether it may end where the test part does.
    Raises:
        ResultError: it does not lie in the steps decoded by all systems.
    """
    first = found[0]
    known = min(len(one.predicted) for one in found)
    begin, count = round(start_s / first.dt_s), round(seconds / first.dt_s)
    if shorten:
        count = min(count, known - begin)
    if begin < 0 or count < 2 or begin + count > known:
        raise ResultError(
            f"session {first.session}: {seconds:g} s from {start_s:g} s do not lie in the "
            f"{known * first.dt_s:.1f} s decoded by all systems; choose another stretch"
        )
    return slice(begin, begin + count)
