"""Cross-validation over blocks in time: each block of a session is tested on in one fold.

A fold is a session of its own: the recording is turned in time until the block that is tested
comes last, so that whatever takes a session takes a fold. Where the recording's end meets its
beginning lies the joint, which no window, sum over lags or stream of a part crosses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikereach.config.sessions import folded
from spikereach.data.binning import BinnedSession, Fold, Split, velocity_of
from spikereach.data.errors import SessionError
from spikereach.data.matfile import STEP_S


def fold(session: BinnedSession, number: int, folds: int, gap_s: float) -> BinnedSession:
    """One fold of a session, turned so that the order is training, validation, test.

    The segments are divided into ``folds`` blocks of equally many in time order. Block ``number``
    is tested on, the block before it (the last one before the first) is for validation, and all
    others are for training. What lies less than ``gap_s`` beside the tested block belongs to no
    part. With four folds and no gap, the last fold has the parts of ``split("neurobench")``.

    Args:
        session: no fold itself.
        number: 1 to ``folds``.
        folds: 3 or more.
        gap_s: seconds.
    Raises:
        SessionError: a part has no step or no spike, or x or y of its velocity never varies.
    """
    steps, gap = len(session.spikes), round(gap_s / STEP_S)
    starts = [*session.segments[:, 0].tolist(), steps]
    bounds = [starts[len(session.segments) * block // folds] for block in range(folds + 1)]
    lengths = np.diff(bounds).tolist()
    first, end = bounds[number - 1], bounds[number]
    test = steps - lengths[number - 1]
    val = test - lengths[number - 2]
    # A gap ends with the recording.
    before, after = min(gap, first), min(gap, steps - end)
    split = Split(train=range(after, val), val=range(val, test - before), test=range(test, steps))
    if not (all(vars(split).values()) and min(lengths) > 1):
        raise SessionError(
            f"session {session.name}: {len(session.segments)} segments ({steps * STEP_S:.0f} s) in "
            f"{folds} blocks with gaps of {gap_s:g} s leave a part without steps: take fewer "
            "`folds` or a shorter `gap_s` under `blocked`, or a recording with more targets"
        )
    turn = end % steps
    made = Fold(split, joint=(steps - turn) % steps)
    tiles = np.roll(np.diff(session.segments), -(len(session.segments) * number // folds))
    ends = tiles.cumsum()
    position = np.roll(session.position, -turn, axis=0)
    turned = replace(
        session,
        name=folded(session.name, number),
        spikes=np.roll(session.spikes, -turn, axis=0),
        velocity=velocity_of(position, made),
        position=position,
        segments=np.stack([ends - tiles[:, 0], ends], axis=1),
        provenance=session.provenance | {"fold": [number, folds, gap_s]},
        fold=made,
    )
    turned.split("neurobench")
    return turned
