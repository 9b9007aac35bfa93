"""What a recording means for a decoder, in sentences."""

from collections.abc import Sequence

import numpy as np

from spikereach.data.binning import BinnedSession
from spikereach.data.matfile import STEP_S
from spikereach.data.suspicion import SPIKES, Suspicion

LITTLE = 0.05
"""An R2 from which on downwards one looks for a fault."""
CHANGE = 2.0
"""Factor by which the rate of a channel differs between training and test part."""
NAMED = 8
"""Most channels named one by one."""


def prospects(
    session: BinnedSession,
    suspicions: Sequence[Suspicion],
    r2: float | None,
    r2_without: float | None,
) -> list[str]:
    """Sentences, the most important one first.

    Args:
        session: the recording.
        suspicions: about its channels.
        r2: of a linear filter on the test part (`evaluation.yardstick`), if it could be fitted.
        r2_without: of one without the suspicious channels, if there are any.
    """
    counts = session.spikes.sum(axis=0, dtype=np.int64)
    steps, channels = session.spikes.shape
    silent = int((counts == 0).sum())
    wrong = [c for each in suspicions if each.kind != "silent" for c in each.channels]
    found = [_decodable(session, r2, r2_without)]
    if wrong:
        named = "; ".join(str(each) for each in suspicions if each.kind != "silent")
        found.append(f"Suspicious: {named}.")
        share = counts[wrong].sum() / counts.sum()
        found.append(
            f"Suspicious channels have {100 * share:.0f} % of all spikes, and of the accumulates "
            "of a spiking decoder's first layer. What a decoder learns from them is lost when the "
            "fault changes."
        )
    if changed := _changed(session):
        named = ", ".join(map(str, changed[:NAMED])) + ", ..." * (len(changed) > NAMED)
        found.append(
            f"The rate of {len(changed)} of {channels} channels differs by a factor of more than "
            f"{CHANGE:g} between training and test part ({named}): weights that stay as they are "
            "meet other inputs there."
        )
    if silent:
        found.append(
            f"Silent: {silent} of {channels} channels, whose weights take memory and change "
            "nothing."
        )
    found.append(
        f"With {counts.sum() / steps:.2f} spikes per step of 4 ms, a dense first layer of N units "
        f"accumulates {counts.sum() / steps:.2f} N times per step."
    )
    return found


def _decodable(session: BinnedSession, r2: float | None, r2_without: float | None) -> str:
    if r2 is None:
        return "The training part is too short to fit a linear filter."
    test = session.split("neurobench").test
    segments = int((session.segments[:, 0] >= test.start).sum())
    text = (
        f"A linear filter fitted on the training part reaches R2 {r2:.2f} on the test part "
        f"({segments} segments in {len(test) * STEP_S:.0f} s)"
    )
    if r2_without is not None:
        text += f", and {r2_without:.2f} without the suspicious channels"
    if max(r2, -1.0 if r2_without is None else r2_without) < LITTLE:
        text += ": these spikes tell nearly nothing of the movement, or lie on another clock"
    return f"{text}."


def _changed(session: BinnedSession) -> list[int]:
    """Channels whose rate changes between training and test part, of those that fire enough."""
    split = session.split("neurobench")
    parts = [session.spikes[part.start : part.stop] for part in (split.train, split.test)]
    train, test = (part.mean(axis=0) for part in parts)
    enough = sum(part.sum(axis=0, dtype=np.int64) for part in parts) >= SPIKES
    changed = (test > CHANGE * train) | (train > CHANGE * test)
    return [int(channel) for channel in np.flatnonzero(changed & enough)]
