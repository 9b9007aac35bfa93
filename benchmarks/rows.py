"""The rows of the benchmark: who does which work, and how much faster we mean to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

OURS = "spikereach"


@dataclass
class Job:
    """What a contender has set up."""

    run: Callable[[], dict[str, float] | None]
    """Does the work once; may return figures of its own."""
    result: Callable[[], dict[str, np.ndarray]] | None = None
    """The arrays that must be equal, of contenders that claim the same result."""
    warm: int = 1
    """Runs before the timed ones."""


@dataclass(frozen=True)
class Goal:
    figure: str
    ratio: float
    against: tuple[str, ...] | None = None
    """Peers it is for; None: all."""
    limit: float | None = None
    """Highest value of our own figure."""


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference, as a part of the largest value."""
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))


def deviation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Root mean square of the difference, as a part of the values'.

    Where two frames of a pool differ by no more than rounding, the gradient goes to one or to the
    other. One such pair in RTnet's batch changes the first convolution's gradient by 5e-4; without
    any it differs by 5e-5 from that in float64, as PyTorch's does.
    """
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12))


def unequal(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of elements that differ at all; 1 where shapes do."""
    return float(np.mean(ours != theirs)) if ours.shape == theirs.shape else 1.0


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    work: str
    contenders: dict[str, Callable[[int], Job]]
    """Name -> set-up, given the number of threads; an ImportError or OSError: absent."""
    goals: tuple[Goal, ...]
    same: tuple[str, ...] = ()
    """Peers with the same result."""
    repetitions: int = 5
    tolerance: float = 0.0
    difference: Callable[[np.ndarray, np.ndarray], float] = field(default=unequal)


def _job(module: str, function: str, *arguments) -> Callable[[int], Job]:
    """A set-up that imports its module when called."""

    def set_up(threads: int) -> Job:
        import importlib

        import spikereach  # first of all: it sets how OpenMP's threads wait  # noqa: F401

        return getattr(importlib.import_module(module), function)(*arguments, threads=threads)

    return set_up


def _rows():
    load = partial(_job, "loading")
    yield Row(
        "load",
        "load and bin a session",
        "synthetic session of Loco, 192 channels, 36.5 minutes, 548,000 steps",
        {OURS: load("ours"), "neurobench": load("neurobench")},
        (Goal("seconds", 20), Goal("bytes", 4)),
        same=("neurobench",),
        repetitions=3,
    )
    for system, steps in {
        "Wiener": 2000,
        "Kalman": 4000,
        "SNN2": 1000,
        "SNN3": 150,
        "ANN2": 1000,
        "ANN3": 1000,
        "AEGRU": 500,
        "tinyRSNN": 800,
        "bigRSNN": 200,
        "GRU-t2": 4096,
        "sGRU-t2": 4096,
        "LIF-t2": 4096,
        "RTnet": 4000,
        "sRTnet": 4000,
    }.items():
        metrics = partial(_job, "metrics")
        contenders = {
            OURS: metrics("ours", system, steps),
            "neurobench": metrics("neurobench", system, steps),
        }
        if system in ("RTnet", "sRTnet"):
            contenders["neurobench, bin by bin"] = metrics("bin_by_bin", system, 1000)
        yield Row(
            f"metrics-{system}",
            f"exact metrics, {system}",
            f"ours on 102,400 steps, NeuroBench on {steps}, time per step; results of the latter",
            contenders,
            (Goal("seconds", 200),),
            same=("neurobench",),
            repetitions=1 if system in ("SNN3", "bigRSNN") else 3,
            tolerance=1e-6,
            difference=lambda ours, theirs: float(np.abs(ours - theirs).max()),
        )
    rsnn = partial(_job, "rsnn")
    yield Row(
        "train-tinyRSNN",
        "training batch of tinyRSNN",
        "250 windows of 500 steps, 96-64-2, dropout 0.3 of inputs and hidden spikes, both "
        "regularisers, backward, SMORMS3",
        {
            OURS: rsnn("ours", "tinyRSNN", 250, 500),
            "torch": rsnn("plain", "tinyRSNN", 250, 500),
            "snntorch": rsnn("snntorch", "tinyRSNN", 250, 500),
            "norse": rsnn("norse", "tinyRSNN", 250, 500),
            "spikingjelly": rsnn("spikingjelly", "tinyRSNN", 250, 500),
        },
        (Goal("seconds", 10), Goal("bytes", 4, ("torch",))),
        same=("torch",),
        repetitions=7,
        tolerance=1e-5,
        difference=relative,
    )
    yield Row(
        "train-bigRSNN",
        "training batch of bigRSNN",
        "250 windows of 60 steps, 96-1024-10, dropout 0.3, regulariser, backward, SMORMS3",
        {
            OURS: rsnn("ours", "bigRSNN", 250, 60),
            "torch": rsnn("plain", "bigRSNN", 250, 60),
            "snntorch": rsnn("snntorch", "bigRSNN", 250, 60),
        },
        (Goal("seconds", 2.5), Goal("bytes", 4, ("torch",))),
        same=("torch",),
        repetitions=3,
        tolerance=1e-5,
        difference=relative,
    )
    hybrid = partial(_job, "hybrid")
    yield Row(
        "train-RTnet",
        "training batch of RTnet",
        "32 windows of 4096 steps, 96 channels, dropout 0.3, batch norm, backward, Adam",
        {
            OURS: hybrid("ours"),
            "torch": hybrid("plain"),
            "snntorch": hybrid("snntorch"),
        },
        (Goal("seconds", 3), Goal("bytes", 4, ("torch",))),
        same=("torch",),
        repetitions=5,
        tolerance=2e-3,
        difference=deviation,
    )
    for system in ("SNN2", "tinyRSNN", "tinyRSNN-float16", "bigRSNN", "RTnet", "sRTnet"):
        stream = partial(_job, "streaming")
        yield Row(
            f"stream-{system}",
            f"streaming, {system}",
            "3,000 bins one by one, 96 channels",
            {OURS: stream("ours", system), "snntorch": stream("snntorch", system)},
            (Goal("p99_s", 20, limit=100e-6),),
            repetitions=3,
        )
    yield Row(
        "stream-Kalman",
        "streaming, Kalman",
        "3,000 bins one by one, 96 channels; against the same decoder called as a module",
        {OURS: stream("ours", "Kalman"), "torch": stream("plain", "Kalman")},
        (Goal("p99_s", 1, limit=100e-6),),
        repetitions=3,
    )


ROWS = {row.name: row for row in _rows()}
