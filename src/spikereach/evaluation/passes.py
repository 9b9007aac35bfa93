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
    """Spikes (T, C) as the decoder's input (T, 1, C), on its device.

    Raises:
        EvaluationError: the number of channels is not the decoder's.
    """
    if spikes.ndim != 2 or spikes.shape[1] != decoder.channels:
        raise EvaluationError(
            f"the decoder reads {decoder.channels} channels, the spikes have the shape "
            f"{tuple(spikes.shape)}: expected (steps, {decoder.channels})"
        )
    device = next((p.device for p in decoder.parameters()), torch.device("cpu"))
    return torch.as_tensor(spikes).to(device=device, dtype=torch.float32)[:, None]


def in_pieces(
    decoder: Decoder, spikes: Tensor, piece: int, *, traced: bool
) -> Iterator[tuple[Tensor, Trace | None]]:
    """Decode (T, 1, C) aligned in time, ``piece`` steps per call, carrying the state.

    As in :meth:`Decoder.decode`, ``lookahead`` silent steps follow the recording.

    Yields:
        velocity (t, 1, 2) in session units and the call's trace (None unless ``traced``);
        the t of all calls add up to T.
    """
    state, early, length = None, decoder.lookahead, len(spikes) + decoder.lookahead
    for start in range(0, length, piece):
        trace = Trace() if traced else None
        part, steps = spikes[start : start + piece], min(piece, length - start)
        if len(part) < steps:
            part = torch.cat([part, spikes.new_zeros(steps - len(part), *spikes.shape[1:])])
        velocity, state = decoder(part, state, trace=trace)
        skipped = min(early, len(velocity))
        early -= skipped
        yield decoder.to_session_units(velocity[skipped:]), trace
