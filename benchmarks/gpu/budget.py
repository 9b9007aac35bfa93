"""GPU-hours of the whole paper, system by system, and the aims for them."""

import math
from collections.abc import Iterator
from functools import partial

import spikereach.compression.fixed_point  # noqa: F401  of it `Budget` asks only later
from gpu import cases
from gpu.checks import Check, Device, Figures, MissedError, SkippedError, replaced
from spikereach.training import cost
from spikereach.workflow.budget import Budget

AIMED_AT = "H200"
"""The device that the aims are for, by a part of its name."""
PAPER_HOURS = 24
MINUTES_PER_SEED = {"tinyRSNN": 10, "bigRSNN": 30}
"""Pretraining and one fine-tuning."""
SECONDS = 4.0
"""To measure the recipes of one system for."""
SHORT = ("tinyRSNN", "RTnet")
"""Systems that an interpreter measures."""
SHORT_STREAM = 64
"""Steps of the stream that it decodes."""

_rows: dict[str, list[dict]] = {}
"""By system, what was measured in this process."""


def checks(device: Device) -> Iterator[Check]:
    systems = list(device.of(_systems(), SHORT))
    for name in systems:
        yield Check(name, partial(system, name, device))
    yield Check("whole paper", partial(whole, systems, device))


def _systems() -> list[str]:
    """That train something; those with aims first."""
    paper = cases.paper()
    entries = paper.systems.items()
    found = [n for n, s in entries if cases.gradient_trained(s) or s.compression]
    return sorted(found, key=lambda name: name not in MINUTES_PER_SEED)


def measured(name: str, device: Device) -> list[dict]:
    """Every training of a system as `spikereach budget` measures it."""
    budget = Budget(cases.paper() if device.real else cases.shortened(cases.paper()))
    works = budget.targets([name])[name]
    with replaced(cost, STREAM=device.of(cost.STREAM, SHORT_STREAM)):
        costs = budget.measure(works, device.type, device.of(SECONDS, 0.0))
    return budget.trainings(costs, None)


def system(name: str, device: Device) -> Figures:
    """Hours of all its trainings, and minutes of one seed where that has an aim."""
    rows = measured(name, device)
    failed = {row["failed"] for row in rows if "failed" in row}
    assert not failed, "; ".join(sorted(failed))
    _rows[name] = rows
    figures: Figures = {"hours": sum((row["hours"] for row in rows), 0.0)}
    stages = {"pretrain", "finetune"}
    figures["minutes per seed"] = sum(
        60 * row["hours"] / row["runs"] for row in rows if row["training"] in stages
    )
    figures["rows"] = rows
    most = MINUTES_PER_SEED.get(name, math.inf)
    if aimed_at(device) and figures["minutes per seed"] > most:
        raise MissedError(f"{most} minutes per seed are the aim", figures)
    return figures


def whole(systems: list[str], device: Device) -> Figures:
    absent = [name for name in systems if name not in _rows]
    if absent:
        raise SkippedError(f"not measured: {', '.join(absent)}")
    figures = {"hours": math.fsum(row["hours"] for rows in _rows.values() for row in rows)}
    if aimed_at(device) and figures["hours"] > PAPER_HOURS:
        raise MissedError(f"{PAPER_HOURS} hours are the aim", figures)
    return figures


def aimed_at(device: Device) -> bool:
    return device.real and AIMED_AT in device.name
