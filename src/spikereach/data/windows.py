"""Training windows, cut on the fly from binned sessions."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from spikereach.data.binning import BinnedSession, Scheme
from spikereach.data.errors import SessionError


class Windows:
    """All windows of one part of one or several sessions, numbered through.

    A window starts every ``stride`` steps and lies within one part of one session. No window is
    kept: `batch` cuts them from the sessions' own arrays.

    Args:
        sessions: binned sessions, with equally many channels in ``areas``.
        part: which part of the split.
        scheme: how sessions are split (`BinnedSession.split`).
        areas: cortex areas whose channels are read, where a session has them.
        window: steps per window.
        stride: steps between the starts of windows.
    Raises:
        SessionError: a part is shorter than one window, has no spikes, or channel counts differ.
    """

    def __init__(
        self,
        sessions: Sequence[BinnedSession],
        part: Literal["train", "val", "test"],
        scheme: Scheme,
        areas: Sequence[str],
        window: int,
        stride: int,
    ):
        self.window = window
        self.stride = stride
        self.sessions = tuple(sessions)
        self.parts = tuple(getattr(session.split(scheme), part) for session in sessions)
        columns = [session.channels(areas) for session in sessions]
        self.columns = tuple(map(_as_slice, columns))
        counts = [len(each) for each in columns]
        for session, steps, count in zip(self.sessions, self.parts, counts, strict=True):
            if len(steps) < window:
                raise SessionError(
                    f"session {session.name}: the {part} part has {len(steps)} steps, a window "
                    f"needs {window}; use a shorter `window` or a longer recording"
                )
            if count != counts[0]:
                raise SessionError(
                    f"session {session.name}: {count} channels in {' and '.join(areas)}, but "
                    f"{counts[0]} in {self.sessions[0].name}; train on sessions with equally many"
                )
        self.channels = counts[0]
        self._ends = np.cumsum([(len(steps) - window) // stride + 1 for steps in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(
        self, indices: Sequence[int], jitter: int = 0, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where windows lie: the number of their session and their first step in it, (B,) each.

        Arguments as for :meth:`batch`.
        """
        indices = np.asarray(indices, np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"window numbers must lie in 0 ... {len(self) - 1}")
        shifts = rng.integers(-jitter, jitter, indices.size, endpoint=True) if jitter else 0
        owners = np.searchsorted(self._ends, indices, side="right")
        numbers = indices - np.concatenate(([0], self._ends))[owners]
        low = np.array([steps.start for steps in self.parts])[owners]
        high = np.array([steps.stop for steps in self.parts])[owners] - self.window
        return owners, np.clip(low + numbers * self.stride + shifts, low, high)

    def batch(
        self, indices: Sequence[int], jitter: int = 0, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cut windows.

        Args:
            indices: B window numbers below ``len(self)``, in any order.
            jitter: shift each start at random by up to this many steps, within its part.
            rng: needed for jitter.
        Returns:
            spikes (window, B, channels) as bytes, velocity (window, B, 2) float32.
        """
        owners, starts = self.locate(indices, jitter, rng)
        spikes = np.empty((self.window, len(starts), self.channels), np.uint8)
        velocity = np.empty((self.window, len(starts), 2), np.float32)
        for i, (owner, start) in enumerate(zip(owners.tolist(), starts.tolist(), strict=True)):
            session = self.sessions[owner]
            steps = slice(start, start + self.window)
            spikes[:, i] = session.spikes[steps, self.columns[owner]]
            velocity[:, i] = session.velocity[steps]
        return spikes, velocity


def _as_slice(columns: np.ndarray) -> slice | np.ndarray:
    """Neighbouring columns as a slice: indexing with it copies nothing."""
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if last - first + 1 == len(columns) else columns
