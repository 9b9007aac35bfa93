"""What a recording offers to a decoder: R2 of a small linear one, fitted in seconds."""

from collections.abc import Sequence

import torch

from spikereach.data.binning import BinnedSession
from spikereach.evaluation.metrics import r2
from spikereach.models.linear import Wiener

LAGS, WIDTH = 3, 40
"""Counts per channel, and steps of each: 160 ms. With few weights the fit takes seconds."""


def linear_r2(session: BinnedSession, channels: Sequence[int]) -> float | None:
    """R2 of a Wiener filter on the test part, fitted on the training part of NeuroBench's split.

    None where the training part is too short for it.

    Args:
        session: the recording.
        channels: columns of its spikes that the filter reads, at least one.
    Raises:
        SessionError: a part is empty.
    """
    split = session.split("neurobench")
    train, test = (slice(part.start, part.stop) for part in (split.train, split.test))
    spikes = torch.from_numpy(session.spikes[:, list(channels)])
    decoder = Wiener(channels=spikes.shape[1], lags=LAGS, width=WIDTH)
    try:
        decoder.fit_closed_form(spikes[train], torch.from_numpy(session.velocity[train]))
    except ValueError:
        return None
    with torch.inference_mode():
        predicted, _ = decoder(spikes[test, None].float())
    return r2(predicted[:, 0], session.velocity[test])
