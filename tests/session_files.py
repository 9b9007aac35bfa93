"""Session files for tests, laid out as MATLAB v7.3 writes them."""

from types import SimpleNamespace

import h5py
import numpy as np

from spikereach.data.matfile import SessionFile


def write_session(
    path,
    spikes,
    t,
    cursor_pos,
    target_pos,
    *,
    names=None,
    compression="gzip",
    fletcher32=False,
    cells_as=None,
    userblock=512,
):
    """Write a session file.

    Args:
        path: where; returned.
        spikes: per unit, per channel an array of spike times, which MATLAB has as a column unless
            it has two dimensions; empty arrays become empty cells.
        t: (T,) seconds.
        cursor_pos: (2, T).
        target_pos: (2, T).
        names: channel names; None leaves the field out.
        compression: of the numeric arrays, in chunks of uneven fit; None: contiguous.
        fletcher32: whether their chunks have checksums.
        cells_as: how the cell arrays lie in HDF5, such as {"chunks": (1, 2)}; None: contiguous.
        userblock: bytes before the HDF5 content; MATLAB puts its own header there.
    """
    with h5py.File(path, "w", userblock_size=userblock) as file:
        cells = file.create_group("#refs#")

        def store(parent, name, values):
            if compression is None or 0 in values.shape:
                return parent.create_dataset(name, data=values)
            chunks = (1, max(1, values.shape[1] // 3))
            stored = {"compression": compression, "chunks": chunks, "fletcher32": fletcher32}
            return parent.create_dataset(name, data=values, **stored)

        store(file, "t", np.asarray(t)[None])
        store(file, "cursor_pos", np.asarray(cursor_pos))
        store(file, "target_pos", np.asarray(target_pos))
        references = np.empty((len(spikes), len(spikes[0])), h5py.ref_dtype)
        for unit, channels in enumerate(spikes):
            for channel, times in enumerate(channels):
                name = f"unit{unit}channel{channel}"
                if len(times):
                    cell = store(cells, name, np.array(times, ndmin=2))
                else:
                    cell = cells.create_dataset(name, data=np.zeros(2, np.uint64))
                    cell.attrs["MATLAB_empty"] = np.uint8(1)
                references[unit, channel] = cell.ref
        file.create_dataset("spikes", data=references, **cells_as or {})
        if names is not None:
            codes = [np.array([[ord(c)] for c in name], np.uint16) for name in names]
            stored = [cells.create_dataset(f"name{i}", data=c).ref for i, c in enumerate(codes)]
            stored = np.array([stored], h5py.ref_dtype)
            file.create_dataset("chan_names", data=stored, **cells_as or {})
    return path


def random_session(path, *, channels, steps, units=2, start=10.0, seed=0, rate=12.0, **options):
    """A session file of Poisson spikes, a random walk of the cursor and a new target every 40."""
    rng = np.random.default_rng(seed)
    t = start + 0.004 * np.arange(steps)
    spikes = [
        [
            np.sort(rng.uniform(t[0] - 0.1, t[-1] + 0.1, rng.poisson(rate * steps * 0.004)))
            if unit == 0 or channel % 3
            else []
            for channel in range(channels)
        ]
        for unit in range(units)
    ]
    cursor = np.cumsum(rng.normal(size=(2, steps)), axis=1)
    target = np.repeat(rng.normal(size=(2, -(-steps // 40))), 40, axis=1)[:, :steps]
    return write_session(path, spikes, t, cursor, target, **options)


def read(path):
    """All fields of a session file; ``spikes`` are the times (n,) of every channel, of all its
    units together."""
    with SessionFile(path) as file:
        spikes = [np.sort(np.concatenate(file.spike_times(n))) for n in range(file.channels)]
        positions = {name: file.position(name) for name in ("cursor_pos", "target_pos")}
        return SimpleNamespace(spikes=spikes, t=file.t, names=file.names, **positions)
