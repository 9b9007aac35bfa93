"""One pass of a decoder over a recording, in pieces of bounded memory."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from spikereach.models.decoder import Decoder, as_taken, device_of


class PassError(RuntimeError):
    """A recording does not fit the decoder: the message tells how."""


def usable_steps(decoder: Decoder, steps: int) -> int:
    """The most steps the decoder is evaluated on: whole windows only.

    Raises:
        PassError: fewer steps than one window.
    """
    window = decoder.timing.whole_windows
    whole = steps // window * window
    if whole == 0:
        raise PassError(
            f"{steps} steps are too few for a decoder that needs whole windows of "
            f"{window}: evaluate on a longer recording"
        )
    return whole


def as_input(decoder: Decoder, spikes: np.ndarray | Tensor) -> Tensor:
    """Spikes (T, C) of any type as one stream (T, 1, C), on the decoder's device: bytes as they
    are, others in float32.

    Raises:
        PassError: the number of channels is not the decoder's, or there are no steps.
    """
    if spikes.ndim != 2 or spikes.shape[1] != decoder.channels:
        raise PassError(
            f"the decoder reads {decoder.channels} channels, the spikes have the shape "
            f"{tuple(spikes.shape)}: expected (steps, {decoder.channels})"
        )
    if len(spikes) == 0:
        raise PassError("the spikes have no steps: there is nothing to decode")
    spikes = torch.as_tensor(spikes).to(device_of(decoder))[:, None]
    return spikes if spikes.dtype == torch.uint8 else spikes.float()


def in_pieces(decoder: Decoder, spikes: Tensor, piece: int) -> Iterator[Tensor]:
    """Decode (T, 1, C) aligned in time, at most ``piece`` steps per call, carrying the state.

    As in :meth:`Decoder.decode`, ``lookahead`` silent steps follow the recording. Pieces are of
    one length, so that none is short and takes as long as the others.

    Yields:
        velocity (t, 1, 2) in session units; the t of all calls add up to T.
    """
    state, early, unit = None, decoder.timing.lookahead, decoder.timing.unit
    length = len(spikes) + early
    share = math.ceil(length / math.ceil(length / piece))
    piece = min(piece, math.ceil(share / unit) * unit)
    for start in range(0, length, piece):
        part = as_taken(decoder, spikes[start : start + piece])
        silent = min(piece, length - start) - len(part)
        if silent:
            part = torch.cat([part, part.new_zeros(silent, *part.shape[1:])])
        velocity, state = decoder(part, state)
        skipped = min(early, len(velocity))
        early -= skipped
        yield decoder.standardisation.undo(velocity[skipped:])


def decoded(decoder: Decoder, spikes: np.ndarray | Tensor, piece: int) -> np.ndarray:
    """What :func:`in_pieces` decodes of spikes (T, C): (T, 2) float32, in session units."""
    with torch.inference_mode():
        pieces = in_pieces(decoder, as_input(decoder, spikes), piece)
        return np.concatenate([each[:, 0].float().cpu().numpy() for each in pieces])
