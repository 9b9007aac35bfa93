"""The units of a synthetic session by themselves, to be driven by another movement."""

from dataclasses import dataclass, fields

import numpy as np

from spikereach.config.sessions import Session
from spikereach.data.synthetic import MARGIN, Unit, simulate


@dataclass(frozen=True, eq=False)
class Population:
    """All N units of a session as they are at its end, on C channels."""

    areas: tuple[str, ...]
    """Cortex area of each channel."""
    channel: np.ndarray
    """(N,) of each unit, ascending."""
    units: Unit
    """Fields (N,); of ``position`` and ``private`` one such array for each component."""
    rate_hz: np.ndarray
    """(N,) firing rate for a relative rate of one, without arousal."""


def population(session: Session, *, duration_s: float, seed: int) -> tuple[Population, np.ndarray]:
    """The units of the session that `synthetic.generate` writes with the same arguments.

    Returns:
        the units, and the cursor's position (T, 2) in mm, by which the session is known.

    Raises:
        SessionError: the session is no synthetic one, or the duration is too short.
    """
    made = simulate(session, duration_s=duration_s, seed=seed)
    found = [(row, each) for row, units in enumerate(made.channels) for each in units]
    columns = {
        field.name: np.array([getattr(each.unit, field.name) for _, each in found]).T
        for field in fields(Unit)
    }
    units = Population(
        tuple(area for area, count in session.areas.items() for _ in range(count)),
        np.array([row for row, _ in found]),
        Unit(**columns),
        np.array([each.last_hz for _, each in found]) * made.thinning,
    )
    return units, made.position[:, MARGIN:-MARGIN].T
