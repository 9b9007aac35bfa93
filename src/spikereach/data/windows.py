"""Training windows, cut on the fly from binned sessions."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from spikereach.data.binning import BinnedSession, Scheme, Split
from spikereach.data.errors import SessionError
from spikereach.data.matfile import STEP_S


class Windows:
    """All windows of one part of one or several sessions, numbered through.

    A window lies within one part of one session, and on one side of a fold's joint. None is kept:
    `batch` cuts them from the sessions' own arrays.

    Args:
        sessions: binned sessions, with equally many channels in ``areas``.
        part: which part of the split; ``train+val``: these two as one.
        scheme: how sessions are split (`BinnedSession.split`).
        areas: cortex areas whose channels are read, where a session has them; None: all.
        window: steps per window.
        stride: steps between the starts of windows.
        placement: ``every``, a window at each multiple of the stride; ``tiled``, for each such
            offset below the window length, windows end to end without the last piece, which
            is dropped also where it is a whole window (Liu et al. 2024).
    Raises:
        SessionError: a part is shorter than one window, has no spikes, or channel counts differ.
    """

    def __init__(
        self,
        sessions: Sequence[BinnedSession],
        part: Literal["train", "val", "test", "train+val"],
        scheme: Scheme,
        areas: Sequence[str] | None,
        window: int,
        stride: int,
        placement: Literal["every", "tiled"] = "every",
    ):
        self.window = window
        self.sessions = tuple(sessions)
        self.parts = tuple(_steps(session.split(scheme), part) for session in sessions)
        columns = [session.channels(areas) for session in sessions]
        self.columns = tuple(map(_as_slice, columns))
        counts = [len(each) for each in columns]
        owned = []
        for session, steps, count in zip(self.sessions, self.parts, counts, strict=True):
            needed = window + (placement == "tiled")  # the last piece is dropped
            stretches = session.stretches(steps)
            if (longest := max(map(len, stretches))) < needed:
                raise SessionError(
                    f"session {session.name}: the {part} part has {longest} steps, a window "
                    f"needs {needed}; use a shorter `window` or a longer recording"
                )
            starts = [_starts(stretch, window, stride, placement) for stretch in stretches]
            owned.append(np.concatenate(starts))
            if count != counts[0]:
                raise SessionError(
                    f"session {session.name}: {count} channels in the areas read, but {counts[0]} "
                    f"in {self.sessions[0].name}; train on sessions with equally many"
                )
        self.channels = counts[0]
        self._starts, self._ends = np.concatenate(owned), np.cumsum(list(map(len, owned)))

    def __len__(self) -> int:
        return len(self._starts)

    def rates_hz(self) -> np.ndarray:
        """Mean firing rate of every channel over all windows, (channels,) float64.

        A step counts as often as there are windows that have it.
        """
        spikes = np.zeros(self.channels)
        owned = np.split(self._starts, self._ends[:-1])
        for session, columns, starts in zip(self.sessions, self.columns, owned, strict=True):
            changes = np.zeros(len(session.spikes) + 1)
            np.add.at(changes, starts, 1)
            np.add.at(changes, starts + self.window, -1)
            spikes += changes[:-1].cumsum() @ session.spikes[:, columns]
        return spikes / (len(self) * self.window * STEP_S)

    def locate(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Where windows lie: the number of their session and their first step in it, (B,) each."""
        indices = np.asarray(indices, np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"window numbers must lie in 0 ... {len(self) - 1}")
        return np.searchsorted(self._ends, indices, side="right"), self._starts[indices]

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Cut windows.

        Args:
            indices: B window numbers below ``len(self)``, in any order.
        Returns:
            spikes (window, B, channels) as bytes, velocity (window, B, 2) float32.
        """
        owners, starts = self.locate(indices)
        spikes = np.empty((self.window, len(starts), self.channels), np.uint8)
        velocity = np.empty((self.window, len(starts), 2), np.float32)
        for i, (owner, start) in enumerate(zip(owners.tolist(), starts.tolist(), strict=True)):
            session = self.sessions[owner]
            steps = slice(start, start + self.window)
            spikes[:, i] = session.spikes[steps, self.columns[owner]]
            velocity[:, i] = session.velocity[steps]
        return spikes, velocity


def _steps(split: Split, part: str) -> range:
    if part == "train+val":
        return range(split.train.start, split.val.stop)
    return getattr(split, part)


def _starts(steps: range, window: int, stride: int, placement: str) -> np.ndarray:
    if placement == "every":
        return np.arange(steps.start, steps.stop - window + 1, stride)
    return np.concatenate(
        [
            np.arange(steps.start + offset, steps.stop - window, window)
            for offset in range(0, window, stride)
        ]
    )


def _as_slice(columns: np.ndarray) -> slice | np.ndarray:
    """Neighbouring columns as a slice: indexing with it copies nothing."""
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if last - first + 1 == len(columns) else columns
