"""What `import spikereach` offers, which the command line uses as well; docs/python.md shows it.

Velocities are in the session's unit of position (mm on Zenodo) per step of 4 ms. What runs is the
decoder as it is deployed and measured: batch norms folded, without parts that only training needs.
"""

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from spikereach.data.binning import BinnedSession
from spikereach.data.recordings import load_session
from spikereach.evaluation.evaluate import deployed, input_spikes, measure
from spikereach.evaluation.metrics import PIECE
from spikereach.evaluation.records import Measured
from spikereach.export import folder, forms
from spikereach.export.errors import ExportError
from spikereach.models import checkpoint as checkpoints
from spikereach.models.checkpoint import Checkpoint
from spikereach.models.passes import PassError, decoded

__all__ = [
    "Stream",
    "decode",
    "evaluate",
    "export_decoder",
    "input_spikes",
    "load_checkpoint",
    "load_session",
]


def load_checkpoint(path: str | Path, *, trust: str | Collection[str] = ()) -> Checkpoint:
    """A trained decoder from a checkpoint.safetensors, on the CPU; nothing in it is executed.

    Args:
        path: a file that a training or `spikereach import-weights` made.
        trust: architecture outside spikereach, as PACKAGE.MODULE:CLASS, that it may import, or
            several of them.
    Raises:
        CheckpointError: the file is missing, damaged or no checkpoint, or needs an architecture
            that is not trusted.
    """
    # One name is not a collection of its letters.
    return checkpoints.load(Path(path), trust=(trust,) if isinstance(trust, str) else trust)


def decode(checkpoint: Checkpoint, recording: BinnedSession | np.ndarray) -> np.ndarray:
    """Velocity of each step of a recording, (T, 2) float32, x and y in the session's unit per step.

    Aligned in time: row k is the velocity at step k, of which a decoder that looks ahead knows the
    steps after it. The decoder begins anew at the first step; after the last it sees silence.

    Args:
        checkpoint: as `load_checkpoint` gives it.
        recording: a session, of which `input_spikes` takes the channels, or these spikes
            themselves: (T, C) of 0 and 1, such as a part of a session.
    Raises:
        EvaluationError: the session has not as many channels as the decoder reads.
        PassError: spikes of another shape, or other values than 0 and 1.
    Warns:
        MismatchWarning: the session is of another monkey or other areas than the decoder's.
    """
    decoder = deployed(checkpoint)
    if isinstance(recording, BinnedSession):
        spikes = input_spikes(checkpoint, recording)
    else:
        spikes = _binary(recording)
    return decoded(decoder, spikes, PIECE)


class Stream:
    """A decoder bin by bin: ``stream(spikes)`` takes the next bin and returns a velocity.

    With look-ahead L, the call for bin k returns the velocity at step k - L, and the first L calls
    return what is before the recording. Otherwise equal to `decode` up to rounding.

    Args:
        checkpoint: as `load_checkpoint` gives it. Every stream begins anew.
    """

    channels: int
    """C, of one bin."""
    lookahead: int
    """L in steps of 4 ms; 0 for decoders that do not look ahead."""

    def __init__(self, checkpoint: Checkpoint):
        decoder = deployed(checkpoint)
        self.channels, self.lookahead = decoder.channels, decoder.timing.lookahead
        self._step = decoder.standardised_streamer()
        self._scale, self._offset = np.array(decoder.standardisation, np.float32)

    def __call__(self, spikes: np.ndarray) -> np.ndarray:
        """Velocity (2,) float32, x and y in the session's unit per step.

        Args:
            spikes: (C,) of 0 and 1, the channels in the order of `input_spikes`.
        Raises:
            PassError: another shape, or other values than 0 and 1.
        """
        spikes = _binary(spikes)
        if spikes.shape != (self.channels,):
            raise PassError(
                f"the decoder reads {self.channels} channels, the spikes of a bin have the shape "
                f"{spikes.shape}: expected ({self.channels},)"
            )
        return self._step(spikes) * self._scale + self._offset


def evaluate(
    checkpoint: Checkpoint, session: BinnedSession, neurobench_steps: int | None = 2000
) -> Measured:
    """NeuroBench's metrics of a decoder on the test part of a session: `spikereach evaluate`.

    Args:
        checkpoint: as `load_checkpoint` gives it.
        session: as `load_session` gives it.
        neurobench_steps: test steps over which NeuroBench itself, which is slow, must agree with
            the exact metrics; None: all.
    Returns:
        a record with fields such as ``r2``, ``footprint``, ``macs`` and ``acs``.
    Raises:
        EvaluationError: a metric cannot be trusted, or the session has not as many channels as the
            decoder reads.
        SessionError: the session has no test part.
    Warns:
        MismatchWarning: as `decode`.
    """
    return measure(checkpoint, session, neurobench_steps).metrics


def export_decoder(
    path: str | Path,
    out: str | Path,
    form: forms.Form,
    session: BinnedSession | None = None,
    *,
    trust: str | Collection[str] = (),
) -> None:
    """Write a decoder as a folder for where it runs: `spikereach export`.

    Args:
        path: a checkpoint.safetensors.
        out: the folder; an earlier export is replaced.
        form: ``c`` (fixed-point decoders), ``onnx`` or ``nir``.
        session: of ``c``: the first 512 bins of its test part are what `make check` compares;
            None: random spikes.
        trust: as `load_checkpoint`.
    Raises:
        CheckpointError: as `load_checkpoint`.
        ExportError: the format cannot hold the decoder; names the layer and the remedy.
        NoStagesError: a layer does not say what it computes.
        OverwriteError: something else than an export lies at ``out``.
        EvaluationError: the session has not as many channels as the decoder reads.
        WriteError: the disk is full, the folder read-only, ...
    """
    path, out = Path(path), Path(out)
    folder.check_overwriting(out)
    if session is not None and form != "c":
        raise ExportError(f"only C is compared on a session: leave it out for {form}")
    checkpoint = load_checkpoint(path, trust=trust)
    decoder = deployed(checkpoint)
    told = {"format": form, **folder.about(checkpoint, path)}
    if session is None:
        spikes = forms.random_spikes(decoder.channels)
        vectors = f"random spikes, {forms.RATE} per channel and bin, of NumPy's generator of seed 0"
    else:
        test = session.split("neurobench").test
        spikes = input_spikes(checkpoint, session)[test.start : test.stop][: forms.BINS]
        vectors = f"session {session.name} from step {test.start}"
    files = forms.contents(form, decoder, told, spikes)
    # From the folder, so that both may move together.
    told["checkpoint"] = Path(os.path.relpath(path, out)).as_posix()
    if form == "c":
        told["vectors"] = vectors
    folder.write(out, files, told)


def _binary(spikes: np.ndarray) -> np.ndarray:
    """As bytes, which every decoder reads."""
    spikes = np.asarray(spikes)
    if not ((spikes == 0) | (spikes == 1)).all():
        raise PassError("spikes are 0 or 1 per channel and bin: give counts > 0, not counts")
    return spikes.astype(np.uint8)
