"""NWB files for tests, written by pynwb alone."""

from datetime import UTC, datetime

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import Position, SpatialSeries
from pynwb.file import Subject

START = datetime(2017, 1, 31, tzinfo=UTC)


def recording(monkey="Indy"):
    """An NWB file in memory without data."""
    return NWBFile(
        session_description="reaching",
        identifier="a test",
        session_start_time=START,
        subject=Subject(subject_id=monkey, species="Macaca mulatta", sex="M", age="P5Y"),
    )


def save(nwb, path):
    with NWBHDF5IO(path, "w") as file:
        file.write(nwb)
    return path


def add_electrodes(nwb, locations):
    """An electrode at each location."""
    device = nwb.create_device("array")
    groups = {
        place: nwb.create_electrode_group(f"group {i}", "array", place, device)
        for i, place in enumerate(dict.fromkeys(locations))
    }
    for place in locations:
        nwb.add_electrode(group=groups[place], location=place)


def add_units(nwb, times, electrodes=None, observed=None):
    """Units with these spike times (n,) each, on these electrodes."""
    for unit, own in enumerate(times):
        more = {} if electrodes is None else {"electrodes": [electrodes[unit]]}
        more |= {} if observed is None else {"obs_intervals": observed}
        nwb.add_unit(spike_times=own, **more)


def add_series(nwb, name, data, unit="mm", *, kind=SpatialSeries, inside=None, **clock):
    """A time series in the processing module for behaviour; ``inside``: in a Position."""
    module = nwb.processing.get("behavior") or nwb.create_processing_module("behavior", "movement")
    more = {"reference_frame": "screen"} if kind is SpatialSeries else {}
    series = kind(name=name, data=data, unit=unit, **more, **clock)
    if inside is None:
        module.add(series)
    else:
        module.add(Position(name=inside, spatial_series=series))


def wiggle(times, seed=0):
    """A smooth movement at ``times`` (n,), (n, 2): sums of sines up to 5 Hz, in mm."""
    rng = np.random.default_rng(seed)
    found = np.zeros((np.size(times), 2))
    for _ in range(6):
        rate, phase = rng.uniform(0.2, 5.0), rng.uniform(0, 2 * np.pi, 2)
        found += rng.uniform(2, 10) * np.sin(2 * np.pi * rate * np.asarray(times)[:, None] + phase)
    return found


def poisson(count, start, stop, seed=0, rate=20.0):
    """Sorted spike times of ``count`` units."""
    rng = np.random.default_rng(seed)
    return [
        np.sort(rng.uniform(start, stop, max(2, rng.poisson(rate * (stop - start)))))
        for _ in range(count)
    ]


def simple(path, seconds=40.0, channels=4, **clock):
    """A small file: ``cursor_pos`` and ``target_pos`` in mm, by default at 250 Hz."""
    clock = clock or {"rate": 250.0, "starting_time": 0.0}
    t = clock.get("timestamps")
    if t is None:
        t = (
            clock.get("starting_time", 0.0)
            + np.arange(int(seconds * clock["rate"])) / clock["rate"]
        )
    nwb = recording()
    add_electrodes(nwb, ["M1"] * channels)
    add_units(nwb, poisson(channels, t[0], t[-1]), range(channels))
    add_series(nwb, "cursor_pos", wiggle(t), **clock)
    target = np.stack([np.floor(t), np.zeros_like(t)], axis=1)
    add_series(nwb, "target_pos", target, **clock)
    return save(nwb, path)


def mc_rtt(folder, *, units=13, heldout=3, seconds=24.0):
    """A stand-in for MC_RTT of the neural latents benchmark (DANDI 000129, sub-Indy): its tables,
    names and sampling, with few units and made-up data.

    Returns:
        the train file, with behaviour and all units, and the test file, with neither behaviour nor
        the held-out units.
    """
    times = np.arange(int(seconds * 1000)) / 1000
    cursor = wiggle(times)
    spikes = poisson(units, 0.0, seconds)
    made = []
    for split in ("train", "test"):
        nwb = recording()
        add_electrodes(nwb, ["M1"] * units)
        nwb.add_unit_column("heldout", "whether the unit is held out")
        for unit in range(units if split == "train" else units - heldout):
            nwb.add_unit(
                spike_times=spikes[unit],
                electrodes=[unit],
                obs_intervals=[[0.0, seconds]],
                heldout=unit >= units - heldout,
            )
        nwb.add_trial_column("split", "of the benchmark")
        for number in range(int(seconds / 0.6)):
            named = "val" if number % 4 == 3 else "train"
            nwb.add_trial(
                start_time=0.6 * number,
                stop_time=0.6 * number + 0.6,
                split=named if split == "train" else "test",
            )
        if split == "train":
            target = np.repeat(np.floor(times / 1.5)[:, None], 2, axis=1) * 15.0
            finger = np.column_stack([cursor, np.full(len(times), 150.0)])
            velocity = np.gradient(cursor, 0.001, axis=0)
            metric = {"kind": TimeSeries, "conversion": 0.001, "timestamps": times}
            shown = {"finger_pos": finger, "cursor_pos": cursor, "target_pos": target}
            for name, data in shown.items():
                add_series(nwb, name, data, "m", **metric)
            add_series(nwb, "finger_vel", velocity, "m/s", **metric)
        made.append(
            save(nwb, folder / f"sub-Indy_desc-{split}_behavior+ecephys.nwb")
            if split == "train"
            else save(nwb, folder / f"sub-Indy_desc-{split}_ecephys.nwb")
        )
    return made
