"""GPU-hours of the whole paper, system by system, and the aims for them."""

import math
from collections.abc import Iterator
from functools import partial

import budget  # benchmarks/budget.py
import torch

from gpu import cases
from gpu.checks import Check, Device, Figures, MissedError, SkippedError, replaced

AIMED_AT = "H200"
"""The device that the aims are for, by a part of its name."""
PAPER_HOURS = 24
MINUTES_PER_SEED = {"tinyRSNN": 10, "bigRSNN": 30}
"""Pretraining and one fine-tuning."""
SHORT = ("tinyRSNN", "RTnet")
"""Systems that an interpreter measures."""

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
    """Every training of a system as the project's budget measures it: rows with ``what``,
    ``update_ms``, ``minutes_each``, ``repetitions`` and ``hours``.

    The only place that knows where the budget lies.
    """
    paper = cases.paper()
    if device.real:
        return list(budget.project(paper, torch.device("cuda"), [name]))
    brief = cases.shortened(paper)
    with replaced(budget, WARM=0, TIMED=1, PIECE=16):
        return list(budget.project(brief, torch.device("cpu"), [name]))


def system(name: str, device: Device) -> Figures:
    """Hours of all its trainings, and minutes of one seed where that has an aim."""
    rows = measured(name, device)
    failed = {row["failed"] for row in rows if "failed" in row}
    assert not failed, "; ".join(sorted(failed))
    _rows[name] = rows
    figures: Figures = {"hours": sum((row["hours"] for row in rows), 0.0)}
    stages = [row for row in rows if row["what"] in ("pretrain", "finetune")]
    longest = {what: max(row["minutes_each"] for row in stages if row["what"] == what)
               for what in {row["what"] for row in stages}}  # fmt: skip
    if longest:
        figures["minutes per seed"] = sum(longest.values())
    figures["rows"] = rows
    most = MINUTES_PER_SEED.get(name, math.inf)
    if aimed_at(device) and figures.get("minutes per seed", 0) > most:
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
