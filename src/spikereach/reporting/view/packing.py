"""Arrays as text that the page turns into typed arrays."""

import base64
from typing import Any

import numpy as np


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array as int16 and a scale: 1/32767 of its largest value is far below a pixel."""
    scale = float(np.abs(values).max()) / 32767 or 1.0
    return {"scale": scale, "data": text(np.rint(values / scale).astype("<i2"))}


def packed_spikes(spikes: np.ndarray) -> dict[str, Any]:
    """Spikes (T, C) of 0 and 1, which are few: a byte each.

    It is the way from the spike before, over all channels of a step and on to the next step; 255
    goes so far without a spike there.
    """
    ways = np.diff(np.flatnonzero(spikes), prepend=-1)
    far, rest = np.divmod(ways, 255)
    coded = np.full(far.sum() + len(ways), 255, "uint8")
    coded[np.cumsum(far + 1) - 1] = rest
    return {"channels": spikes.shape[1], "spikes": text(coded)}


def text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
