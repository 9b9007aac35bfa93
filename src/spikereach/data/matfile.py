"""Session files: MATLAB v7.3 (HDF5) in the layout of the primate reaching dataset.

The fields, as they lie in HDF5 (O'Doherty, Cardoso, Makin, Sabes 2017, Zenodo 583331):
``spikes`` (units, channels) cells of spike times in seconds, ``t`` (1, T) at 250 Hz,
``cursor_pos`` and ``target_pos`` (2, T), ``chan_names`` (1, channels). Others are not read.
``t`` and the positions may also lie the other way round, and the times of a cell in any shape.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from spikereach.data.hdf5 import GuardedFile
from spikereach.kinds import Kind

STEP_S = 0.004
"""Spacing of the samples of ``t`` in seconds (250 Hz)."""

NAME = 1000
"""Most characters of a channel's name."""

_NAMES = (
    "store a cell array of characters (MATLAB: cellstr, HDF5: references to uint16 codes), or "
    "leave the field out"
)


class SessionFile(GuardedFile):
    """An open session file, read field by field so that memory stays small.

    Raises:
        SessionError: on opening or on reading a field; names file, field and remedy.
    """

    def __init__(self, path: str | Path):
        super().__init__(path, Kind.SESSION)
        self.out_of_order = 0
        """Spikes before the one that precedes them in their cell, among those read so far."""

    @cached_property
    def _cells(self) -> np.ndarray:
        """(units, channels); unit 0 has the unsorted threshold crossings."""
        cells = self.references("spikes")
        if 0 in cells.shape:
            raise self.error("spikes", f"has no cells (shape {cells.shape})")
        return cells

    @property
    def channels(self) -> int:
        return self._cells.shape[1]

    @cached_property
    def t(self) -> np.ndarray:
        """Sample times in seconds, (T,) float64, T >= 2.

        A sample may lie up to half a step from where 250 Hz puts it: every sample then keeps
        its own 4 ms bin.
        """
        values = self.values("t", self.field("t"))
        if values.size != max(values.shape, default=1):
            raise self.error("t", f"has the shape {values.shape}, expected a vector")
        t = values.reshape(-1).astype(np.float64, copy=False)
        if t.size < 2:
            raise self.error("t", f"has {t.size} samples, expected at least 2")
        self._finite("t", t)
        steps = np.diff(t)
        if steps.min() <= 0:
            index = int(steps.argmin()) + 1
            raise self.error("t", f"does not increase at sample {index} ({t[index]} s)")
        off = np.abs(t - (t[0] + STEP_S * np.arange(t.size)))
        if off.max() >= STEP_S / 2:
            first = int(np.argmax(off >= STEP_S / 2))
            rate = (t.size - 1) / (t[-1] - t[0])
            raise self.error(
                "t",
                f"is not sampled at 250 Hz (mean {rate:.6g} Hz, off by up to {off.max():.3g} s, "
                f"first at sample {first}, {t[first]} s, which is {steps[first - 1]:.3g} s after "
                "the one before)",
                "resample cursor_pos, target_pos and t to 250 Hz, t in seconds",
            )
        return t

    def position(self, name: str) -> np.ndarray:
        """Of the cursor (``cursor_pos``) or the target (``target_pos``), (2, T), in the file's own
        unit and precision."""
        values = self.values(name, self.field(name))
        samples = self.t.size
        if values.shape not in ((2, samples), (samples, 2)):
            raise self.error(
                name,
                f"has the HDF5 shape {values.shape}, expected {(2, samples)} or {(samples, 2)}: "
                f"x and y for each sample of t",
            )
        self._finite(name, values)
        return values if values.shape == (2, samples) else values.T

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Channel names such as "M1 001"; empty where the file has no ``chan_names``."""
        if "chan_names" not in self:
            return ()
        cells = self.references("chan_names", _NAMES).ravel()
        if cells.size != self.channels:
            raise self.error(
                "chan_names",
                f"has {cells.size} names for {self.channels} channels",
                "give one name per channel, or leave the field out",
            )
        names = []
        for channel, cell in enumerate(cells):
            field = f"chan_names (channel {channel})"
            dataset = self.follow(field, cell)
            if dataset.size > NAME:
                raise self.error(field, f"has {dataset.size} characters, at most {NAME} are read")
            codes = self.values(field, dataset, "u", _NAMES)
            with self.guard(field):
                names.append("".join(map(chr, codes.ravel())))
        return tuple(names)

    def spike_times(self, channel: int) -> list[np.ndarray]:
        """Spike times of each unit of a channel, sorted, in seconds, (n,) float64; a `SessionError`
        if a unit has non-finite times or the wrong type.

        Some may lie outside ``t``: recordings of spikes and of kinematics do not start together.
        """
        return [
            self._unit(f"spikes (channel {channel}, unit {unit})", cell)
            for unit, cell in enumerate(self._cells[:, channel])
        ]

    def _unit(self, field: str, cell) -> np.ndarray:
        dataset = self.follow(field, cell)
        with self.guard(field):
            # MATLAB writes an empty cell as its dimensions, marked by an attribute.
            marked = dataset.dtype.kind == "u" and dataset.marked("MATLAB_empty")
            if dataset.size == 0 or marked:
                return np.empty(0)
        times = self.values(field, dataset).reshape(-1).astype(np.float64, copy=False)
        self._finite(field, times)
        if back := int(np.count_nonzero(times[1:] < times[:-1])):
            self.out_of_order += back
            times = np.sort(times)
        return times

    def _finite(self, field: str, values: np.ndarray) -> None:
        good = np.isfinite(values)
        if not good.all():
            index = tuple(int(i) for i in np.argwhere(~good)[0])
            raise self.error(
                field,
                f"{values.size - int(good.sum())} values are NaN or infinite, "
                f"first {values[index]} at index {index if len(index) > 1 else index[0]}",
                "cut or interpolate those samples",
            )
