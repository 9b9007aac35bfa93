"""One pass of a decoder over a recording, in pieces of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from spikereach.evaluation.errors import EvaluationError
from spikereach.models.decoder import Decoder, Trace


def usable_steps(decoder: Decoder, steps: int) -> int:
    """The most steps the decoder is evaluated on: whole windows only.

    Raises:
        EvaluationError: fewer steps than one window.
    """
    whole = steps // decoder.whole_windows * decoder.whole_windows
    if whole == 0:
        raise EvaluationError(
            f"{steps} steps are too few for a decoder that needs whole windows of "
            f"{decoder.whole_windows}: evaluate on a longer recording"
        )
    return whole


def as_input(decoder: Decoder, spikes: np.ndarray | Tensor) -> Tensor:
    """Spikes (T, C) of any type as one stream (T, 1, C), on the decoder's device.

    Raises:
        EvaluationError: the number of channels is not the decoder's.
    """
    if spikes.ndim != 2 or spikes.shape[1] != decoder.channels:
        raise EvaluationError(
            f"the decoder reads {decoder.channels} channels, the spikes have the shape "
            f"{tuple(spikes.shape)}: expected (steps, {decoder.channels})"
        )
    device = next((p.device for p in decoder.parameters()), torch.device("cpu"))
    return torch.as_tensor(spikes).to(device)[:, None]


def in_pieces(
    decoder: Decoder, spikes: Tensor, piece: int, *, traced: bool
) -> Iterator[tuple[Tensor, Trace | None]]:
    """Decode (T, 1, C) aligned in time, ``piece`` steps per call, carrying the state.

    As in :meth:`Decoder.decode`, ``lookahead`` silent steps follow the recording. Of spikes in
    bytes, one piece at a time is in float32.

    Yields:
        velocity (t, 1, 2) in session units and the call's trace (None unless ``traced``);
        the t of all calls add up to T.
    """
    state, early, length = None, decoder.lookahead, len(spikes) + decoder.lookahead
    for start in range(0, length, piece):
        trace = Trace() if traced else None
        recorded, steps = spikes[start : start + piece], min(piece, length - start)
        part = recorded.new_empty((steps, *spikes.shape[1:]), dtype=torch.float32)
        part[: len(recorded)] = recorded
        part[len(recorded) :] = 0
        velocity, state = decoder(part, state, trace=trace)
        skipped = min(early, len(velocity))
        early -= skipped
        yield decoder.to_session_units(velocity[skipped:]), trace
