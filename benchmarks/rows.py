"""The rows of the benchmark: who does which work, and how much faster we mean to be."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

OURS = "spikereach"
SPIKES = "spikes of "
"""Begins the name of a result (steps, windows, units) of which one that flips, where a membrane
comes to its threshold to within rounding, lets its window go its own way."""


@dataclass
class Job:
    """What a contender has set up."""

    run: Callable[[], object]
    """Does the work once."""
    result: Callable[..., dict[str, np.ndarray]] | None = None
    """The arrays that must be equal, of contenders that claim the same result; where there are
    :data:`SPIKES`, on request of some windows only, of which it takes the numbers."""
    warm: int = 1
    """Runs before the timed ones."""
    steps: int = 1
    """Times are divided by them."""
    figures: bool = False
    """Whether :attr:`run` returns figures of its own."""


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


def absolute(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference."""
    return float(np.abs(ours - theirs).max())


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
    module: str
    """Whose functions set up the contenders."""
    contenders: dict[str, str]
    """Name -> function; where it raises an ImportError or OSError, the contender is absent."""
    goals: tuple[Goal, ...]
    arguments: tuple = ()
    """Of those functions."""
    same: tuple[str, ...] = ()
    """Peers with the same result."""
    exact: str | None = None
    """Contender that is not timed: the result in float64, with which those are compared. None:
    peers are compared with ours."""
    repetitions: int = 3
    tolerance: float = 0.0
    difference: Callable[[np.ndarray, np.ndarray], float] = unequal
    threads: int | None = None
    """Where not as many as asked for."""

    def set_up(self, contender: str) -> Job:
        function = getattr(importlib.import_module(self.module), self.contenders[contender])
        return function(*self.arguments)


METRICS_STEPS = {
    "Wiener": 2000, "Kalman": 4000, "SNN2": 1000, "SNN3": 150, "ANN2": 1000, "ANN3": 1000,
    "AEGRU": 500, "tinyRSNN": 800, "bigRSNN": 200, "GRU-t2": 4096, "sGRU-t2": 4096,
    "LIF-t2": 4096, "RTnet": 4000, "sRTnet": 4000,
}  # fmt: skip
"""Steps on which NeuroBench runs."""


def _metrics(system: str, steps: int) -> Row:
    peers = {"neurobench": "neurobench"}
    if system in ("RTnet", "sRTnet"):
        peers["neurobench, bin by bin"] = "bin_by_bin"
    return Row(
        f"metrics-{system}",
        f"exact metrics, {system}",
        f"ours on 102,400 steps, NeuroBench on {steps}, time per step; results of the latter",
        "metrics",
        {OURS: "ours"} | peers,
        (Goal("seconds", 200),),
        (system, steps),
        same=("neurobench",),
        repetitions=1 if system in ("SNN3", "bigRSNN") else 3,
        tolerance=1e-6,
        difference=absolute,
    )


def _training(system: str, arguments: tuple, work: str, *peers: str, **options) -> Row:
    """Beside plain PyTorch, whose gradients in float64 ours must be, peers with other neurons."""
    return Row(
        f"train-{system}",
        f"training batch of {system}",
        work,
        "batches",
        {OURS: "ours", "torch": "plain", "float64": "exact"} | {peer: peer for peer in peers},
        arguments=(system, *arguments),
        same=("torch",),
        exact="float64",
        **options,
    )


def _stream(system: str, peer: str, ratio: float, work: str = "") -> Row:
    return Row(
        f"stream-{system}",
        f"streaming, {system}",
        "3,000 bins one by one, 96 channels" + work,
        "streaming",
        {OURS: "ours", peer: "plain" if peer == "torch" else peer},
        (Goal("p99_s", ratio, limit=100e-6),),
        (system,),
        threads=1,
    )


_ROWS = (
    Row(
        "load",
        "load and bin a session",
        "synthetic session of Loco, 192 channels, 36.5 minutes, 548,000 steps",
        "loading",
        {OURS: "ours", "neurobench": "neurobench"},
        (Goal("seconds", 20), Goal("bytes", 4)),
        same=("neurobench",),
    ),
    *(_metrics(system, steps) for system, steps in METRICS_STEPS.items()),
    _training(
        "tinyRSNN",
        (250, 500),
        "250 windows of 500 steps, 96-64-2, dropout 0.3 of inputs and hidden spikes, both "
        "regularisers, backward, SMORMS3",
        *("snntorch", "norse", "spikingjelly"),
        goals=(Goal("seconds", 10), Goal("bytes", 4, ("torch",))),
        repetitions=7,
        tolerance=1e-5,
        difference=relative,
    ),
    _training(
        "bigRSNN",
        (250, 60),
        "250 windows of 60 steps, 96-1024-10, dropout 0.3, regulariser, backward, SMORMS3",
        "snntorch",
        goals=(Goal("seconds", 2.5), Goal("bytes", 4, ("torch",))),
        tolerance=1e-5,
        difference=relative,
    ),
    _training(
        "RTnet",
        (32, 4096),
        "32 windows of 4096 steps, 96 channels, dropout 0.3, batch norm, backward, Adam",
        "snntorch",
        goals=(Goal("seconds", 3), Goal("bytes", 4, ("torch",))),
        repetitions=5,
        tolerance=2e-3,
        difference=deviation,
    ),
    *(
        _stream(system, "snntorch", 20)
        for system in ("SNN2", "tinyRSNN", "tinyRSNN-float16", "bigRSNN", "RTnet", "sRTnet")
    ),
    _stream("Kalman", "torch", 1, "; against the same decoder called as a module"),
)
ROWS = {row.name: row for row in _ROWS}
