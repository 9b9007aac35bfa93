"""Everything that is measured of one checkpoint on one session, and the files it goes into."""

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import ValidationError

from spikereach import files
from spikereach.data.binning import BinnedSession
from spikereach.evaluation import metrics, neurobench, realtime
from spikereach.evaluation.errors import EvaluationError, MismatchWarning
from spikereach.evaluation.footprint import deployment
from spikereach.evaluation.records import Measured, Realtime
from spikereach.models.checkpoint import Checkpoint
from spikereach.models.decoder import STEP_S, Decoder
from spikereach.models.passes import decoded, usable_steps
from spikereach.records import faults


@dataclass(frozen=True, eq=False)
class Measurement:
    """A decoder on T test steps; a remainder that fills no window is left out."""

    metrics: Measured
    first_step: int
    """Step of the session at which the test part begins."""
    start_s: float
    """Time of that step on the clock of the recording's file."""
    predicted: np.ndarray
    """Decoded velocity, (T, 2) float32, in the session's unit of position per step."""
    velocity: np.ndarray
    """True velocity, (T, 2) float32."""
    position: np.ndarray
    """True position, (T, 2) float32."""
    spikes: np.ndarray
    """Input of the decoder, (T, C) uint8."""


def measure(
    checkpoint: Checkpoint, binned: BinnedSession, neurobench_steps: int | None
) -> Measurement:
    """NeuroBench's metrics and footprints of a decoder on the continuous test part of a session.

    The test part is the last quarter of the segments, the same for all systems, and the
    metrics are over the whole of it. NeuroBench itself runs over its first
    ``neurobench_steps`` steps (None: all; at least one window), where the exact metrics must
    be equal to its own. Batch norms are folded first, whether or not weights were quantised.

    Raises:
        EvaluationError: a metric cannot be trusted, or the decoder's channels are not the
            session's.
        SessionError: the session has no test part.
    """
    decoder = deployed(checkpoint)
    test = binned.split("neurobench").test
    steps = usable_steps(decoder, len(test))
    part = slice(test.start, test.start + steps)
    spikes, velocity = input_spikes(checkpoint, binned)[part], binned.velocity[part]
    if neurobench_steps is not None and neurobench_steps < 1:
        raise EvaluationError(f"neurobench_steps is {neurobench_steps}: give 1 or more, or None")
    verified = min(steps, max(neurobench_steps or steps, decoder.timing.whole_windows))
    verified = usable_steps(decoder, verified)
    neurobench.verify(decoder, spikes[:verified], velocity[:verified])
    counted, predicted = metrics.measure(decoder, spikes, velocity)
    memory = deployment(decoder)
    r2_x, r2_y = metrics.r2_axes(predicted, velocity)
    with _finite():
        found = Measured(
            **_identity(checkpoint, binned),
            monkey=binned.monkey,
            test_steps=steps,
            verified_steps=verified,
            parameters=sum(parameter.numel() for parameter in decoder.parameters()),
            r2_x=r2_x,
            r2_y=r2_y,
            silenced=_silenced(decoder, spikes, velocity, np.array(checkpoint.areas)),
            macs=counted.pop("effective_macs"),  # NeuroBench's names end here
            acs=counted.pop("effective_acs"),
            deployment_bytes=memory.pop("total_bytes"),
            **counted,
            **memory,
        )
    start_s, position = float(binned.time_s[test.start]), binned.position[part]
    return Measurement(found, test.start, start_s, predicted, velocity, position, spikes)


def _silenced(
    decoder: Decoder, spikes: np.ndarray, velocity: np.ndarray, areas: np.ndarray
) -> dict[str, float]:
    """R2 without the spikes of one area, by area, where the channels (C,) are of several."""
    names = np.unique(areas).tolist()
    return {
        name: metrics.r2(decoded(decoder, spikes * (areas != name), metrics.PIECE), velocity)
        for name in (names if len(names) > 1 else ())
    }


def stream(checkpoint: Checkpoint, binned: BinnedSession, steps: int) -> Realtime:
    """The real-time check on the first ``steps`` bins of the test part; see `realtime.check`.

    Raises:
        EvaluationError: as `realtime.check`, or the decoder's channels are not the session's.
    """
    test = binned.split("neurobench").test
    spikes = input_spikes(checkpoint, binned)[test.start : test.stop]
    found = realtime.check(deployed(checkpoint), spikes, steps)
    with _finite():
        return Realtime(**_identity(checkpoint, binned), **found)


@contextlib.contextmanager
def _finite() -> Iterator[None]:
    """Numbers that JSON cannot hold are no measurement."""
    try:
        yield
    except ValidationError as error:
        raise EvaluationError(f"what was measured cannot be recorded: {faults(error)}") from None


def deployed(checkpoint: Checkpoint) -> Decoder:
    """A copy of the decoder without what only training needs, in evaluation mode."""
    decoder = copy.deepcopy(checkpoint.decoder).eval()
    if not decoder.folded:
        decoder.fold()
    return decoder


def _identity(checkpoint: Checkpoint, binned: BinnedSession) -> dict[str, Any]:
    return {
        "system": checkpoint.system_name,
        "session": binned.name,
        "seed": checkpoint.seed,
    }


def input_spikes(checkpoint: Checkpoint, binned: BinnedSession) -> np.ndarray:
    """The channels of a session that the decoder reads, (T, C) uint8 of 0 and 1.

    Raises:
        EvaluationError: as :func:`input_channels`.
    Warns:
        MismatchWarning: as :func:`input_channels`.
    """
    return np.ascontiguousarray(binned.spikes[:, input_channels(checkpoint, binned)])


def input_channels(checkpoint: Checkpoint, binned: BinnedSession) -> np.ndarray:
    """Which channels of a session the decoder reads, (C,) int.

    They are those in its cortex areas, or all of them where only all are as many as it reads.

    Raises:
        EvaluationError: neither are as many as it reads.
    Warns:
        MismatchWarning: the session is of another monkey than the decoder was trained on, or the
            channels are of other areas.
    """
    columns = np.flatnonzero(np.isin(binned.areas, checkpoint.system.areas))
    if len(columns) != len(checkpoint.areas):
        columns = np.arange(len(binned.areas))
    areas = tuple(binned.areas[column] for column in columns)
    trained = f"{checkpoint.system_name} was trained on {_layout(checkpoint)}"
    given = f"session {binned.name} has {_counted(areas)} of monkey {binned.monkey}"
    if len(areas) != len(checkpoint.areas):
        raise EvaluationError(f"channels: {trained}, {given}: use a decoder trained on this monkey")
    if (binned.monkey, areas) != (checkpoint.monkey, checkpoint.areas):
        warnings.warn(
            f"{trained}, {given}: what it decodes there may mean nothing",
            MismatchWarning,
            stacklevel=4,  # that of who calls `spikereach.decode`
        )
    return columns


def _layout(checkpoint: Checkpoint) -> str:
    return f"{_counted(checkpoint.areas)} of monkey {checkpoint.monkey}"


def _counted(areas: tuple[str, ...]) -> str:
    return " + ".join(f"{areas.count(area)} {area}" for area in dict.fromkeys(areas))


def write_predictions(measured: Measurement, path: str | Path) -> None:
    """Write an HDF5 file, whole or not at all.

    Datasets: ``predicted`` and ``velocity`` (T, 2) float32, position unit per step;
    ``position`` (T, 2); ``spikes`` (T, ceil(C / 8)) uint8, the bits of ``numpy.packbits``
    along axis 1. Attributes: system, session, seed, channels C, first_step, start_s (its time on
    the clock of the recording's file), dt_s, r2.

    Raises:
        WriteError: the file cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for name in ("predicted", "velocity", "position"):
            file.create_dataset(name, data=getattr(measured, name), compression="gzip")
        spikes = np.packbits(measured.spikes, axis=1)
        file.create_dataset("spikes", data=spikes, compression="gzip")
        file.attrs.update(measured.metrics.model_dump(include={"system", "session", "seed", "r2"}))
        channels = measured.spikes.shape[1]
        start = {"first_step": measured.first_step, "start_s": measured.start_s}
        file.attrs.update(channels=channels, dt_s=STEP_S, **start)
    files.replace(path, image.getbuffer())
