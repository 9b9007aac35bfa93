"""Runs groups of checks, each in processes of its own, and tells what they find.

A check that spoils its process, by a CUDA error or a crash, fails alone: another process goes on
with those after it. What a time box does not hold is said to be not run.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gpu.checks import Device

OUTCOMES = ("held", "failed", "skipped", "not run")


class Group(NamedTuple):
    """Checks of one module."""

    name: str
    module: str
    """with a function ``checks(device)``"""
    box_s: float
    """seconds that it may take"""
    processes: int = 1
    """among which its checks are dealt out"""
    alone: bool = False
    """whether nothing else may run beside it, because it measures time"""


@dataclass
class Report:
    """What was found so far: a file that is whole after every check, and a line for each."""

    path: Path
    device: Device
    checks: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    """Of the device and of the versions."""

    def __post_init__(self):
        self.lock, self.begun = threading.Lock(), time.monotonic()
        self.logs.mkdir(parents=True, exist_ok=True)

    @property
    def logs(self) -> Path:
        """Folder of what the processes print."""
        return self.path.with_suffix("")

    def add(self, group: str, name: str, outcome: str, **found: Any) -> None:
        with self.lock:
            line = {"group": group, "name": name, "outcome": outcome} | found
            self.checks.append(line)
            print(told(line), flush=True)
            self.write()

    def count(self, outcome: str) -> int:
        return sum(check["outcome"] == outcome for check in self.checks)

    @property
    def verdict(self) -> str:
        """The last line."""
        counts = {outcome: self.count(outcome) for outcome in OUTCOMES}
        made = counts["held"] + counts["failed"]
        rest = ", ".join(f"{n} {what}" for what, n in counts.items() if n and what != "held")
        return f"{counts['held']} of {made} held" + (f"; {rest}" if rest else "")

    def write(self) -> None:
        """Whole or not at all."""
        about = {"device_kind": self.device.kind, **self.names}
        about |= {outcome: self.count(outcome) for outcome in OUTCOMES}
        about["seconds"] = round(time.monotonic() - self.begun, 1)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        content = json.dumps(about | {"checks": self.checks}, indent=1) + "\n"
        temporary.write_text(content, encoding="utf-8")
        os.replace(temporary, self.path)


def told(line: dict[str, Any]) -> str:
    """A check in one line."""
    figures = ", ".join(f"{k} {_short(v)}" for k, v in line.get("figures", {}).items()
                        if isinstance(v, int | float | str))  # fmt: skip
    after = "; ".join(filter(None, [line.get("why"), figures]))
    return f"{line['outcome']:8} {line['group']}: {line['name']}" + (f": {after}" if after else "")


def _short(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def run(groups: Sequence[Group], report: Report, *, jobs: int, deadline_s: float) -> None:
    """Make all checks: groups side by side first, then one by one those that measure time.

    Args:
        groups: in this order.
        report: gets what is found.
        jobs: processes at a time.
        deadline_s: seconds after which nothing goes on.
    """
    end = time.monotonic() + deadline_s
    together = [group for group in groups if not group.alone]
    with ThreadPoolExecutor(jobs) as pool:
        begun = [
            pool.submit(_share, group, number, report, end)
            for group in together
            for number in range(group.processes)
        ]
    for future in begun:
        future.result()
    for group in groups:
        if group.alone:
            _share(group, 0, report, end)


def _share(group: Group, number: int, report: Report, end: float) -> None:
    """The checks of one of a group's processes, and of those that must follow it."""
    end = min(end, time.monotonic() + group.box_s)
    planned, done = None, []
    while True:
        before = len(done)
        process = Process(group, number, report, done)
        timer = threading.Timer(max(0.0, end - time.monotonic()), process.end)
        timer.start()
        try:
            for line in process.lines():
                if "planned" in line:
                    planned = line["planned"]
                if "device" in line:
                    report.names["device"] = line["device"]
                if "stand_ins" in line:
                    report.names["stand-ins for"] = line["stand_ins"]
                if "name" in line:
                    done.append(line["name"])
                    report.add(group.name, line.pop("name"), line.pop("outcome"), **line)
        finally:
            timer.cancel()
        code, under_way = process.ended(), process.under_way
        if process.out_of_time:
            for name in planned or ["all of it"]:
                if name not in done:
                    report.add(group.name, name, "not run", why="its time was over")
            return
        if under_way is not None:
            done.append(under_way)
            report.add(group.name, under_way, "failed", why=f"its process ended: {code}")
        if planned is None or len(done) == before < len(planned):
            report.add(group.name, "its process", "failed", why=f"{code}: {process.reason()}")
            return
        if set(planned) <= set(done):
            return


class Process:
    """One process of a group, from its begin to its end."""

    def __init__(self, group: Group, number: int, report: Report, done: Sequence[str]):
        self.log = report.logs / f"{group.name}-{number}.log"
        self.under_way, self.out_of_time = None, False
        reading, writing = os.pipe()
        self.pipe = os.fdopen(reading, encoding="utf-8")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gpu.child"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                start_new_session=True,
                env=environment(report.device),
            )
        os.close(writing)
        asked = {"module": group.module, "device": report.device.kind, "pipe": writing}
        asked |= {"number": number, "of": group.processes, "done": list(done)}
        with suppress(BrokenPipeError):  # it ended before it read; its log says why
            self.process.stdin.write(json.dumps(asked).encode())
            self.process.stdin.close()

    def lines(self):
        """What it tells, as it comes."""
        with self.pipe:
            for text in self.pipe:
                line = json.loads(text)
                self.under_way = line.get("begun")
                if "begun" not in line:
                    yield line

    def end(self) -> None:
        """Its time is over: it and all that it began."""
        self.out_of_time = True
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def ended(self) -> str:
        """How, in words."""
        code = self.process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def reason(self) -> str:
        """The last that it printed."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "it printed nothing")


def environment(device: Device) -> dict[str, str]:
    """Of a process: where modules lie, and how Triton runs its kernels."""
    root = Path(__file__).resolve().parents[2]
    folders = [root / name for name in ("benchmarks", "src", "tests", "tests/ops")]
    peers = Path(sys.prefix) / "peers"  # where `make bench` puts other libraries
    folders += [peers] if peers.is_dir() else []
    folders += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(str(folder) for folder in folders if str(folder))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **device.environment}
