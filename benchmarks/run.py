"""Side-by-side benchmarks: `make bench`, or `python benchmarks/run.py [ROW ...]`.

Every contender is a process of its own (`worker.py`), so that memory, threads and global state of
the libraries stay apart. Results are compared before anything is timed; then the contenders take
turns, and medians are kept. A peer that is not installed is named as absent.

Writes benchmarks/results.json and benchmarks/results.md; a run of single rows updates theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rows import OURS, ROWS, Goal, Row

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results.json", HERE / "results.md"
PEERS = Path(os.environ.get("PEERS", Path(sys.prefix) / "peers"))
"""Where `make bench` installs the other libraries, apart from the environment."""


class AbsentError(Exception):
    """A contender that cannot run here."""


class Worker:
    """A contender in its own process."""

    def __init__(self, row: Row, name: str, threads: int):
        path = [str(PEERS), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), row.name, name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

    def ask(self, *words: str) -> dict:
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with exit status {self.process.wait()}")
        answer = json.loads(line)
        if "absent" in answer:
            self.close()
            raise AbsentError(answer["absent"])
        return answer


def run(row: Row, threads: int) -> dict:
    """One row: who was compared, all figures, and the ratios to ours."""
    workers, absent = {}, {}
    for name in row.contenders:
        try:
            workers[name] = Worker(row, name, threads)
        except AbsentError as reason:
            absent[name] = str(reason)
    try:
        equal = check(row, workers)
        figures = {name: [] for name in workers}
        for worker in workers.values():
            worker.ask("warm")
        for _ in range(row.repetitions):
            for name, worker in workers.items():
                figures[name].append(worker.ask("measure"))
        if any(goal.figure == "bytes" for goal in row.goals):
            for name, worker in workers.items():
                figures[name][0] |= worker.ask("memory")
    finally:
        for worker in workers.values():
            worker.close()
    medians = {
        name: {key: median(e[key] for e in taken if key in e) for key in taken[0]}
        for name, taken in figures.items()
    }
    return {
        "title": row.title,
        "work": row.work,
        "equal": equal,
        "absent": absent,
        "medians": medians,
        "measurements": figures,
        "verdicts": [
            verdict(goal, name, medians)
            for goal in row.goals
            for name in medians
            if name != OURS and (goal.against is None or name in goal.against)
        ],
        "threads": threads,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def verdict(goal: Goal, peer: str, medians: dict[str, dict[str, float]]) -> dict:
    """Whether a goal is reached, in wall time; beside it the ratio in processor time, which a
    busy machine distorts less."""
    ours, theirs = medians[OURS], medians[peer]
    of_processor = PROCESSOR.get(goal.figure)
    ratio, value = theirs[goal.figure] / ours[goal.figure], ours[goal.figure]
    return {
        "figure": goal.figure,
        "against": peer,
        "ours": value,
        "theirs": theirs[goal.figure],
        "ratio": ratio,
        "processor_ratio": of_processor and theirs[of_processor] / ours[of_processor],
        "goal": goal.ratio,
        "limit": goal.limit,
        "reached": ratio >= goal.ratio and (goal.limit is None or value <= goal.limit),
    }


def check(row: Row, workers: dict[str, Worker]) -> dict[str, float]:
    """Largest difference of each contender that claims the same result.

    Raises:
        AssertionError: results differ by more than the row allows.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        results = {}
        for name in (OURS, *row.same) if row.same else ():
            if name in workers:
                path = Path(folder) / f"{name}.npz"
                workers[name].ask("result", str(path))
                results[name] = dict(np.load(path))
        ours = results.pop(OURS, None)
        for name, theirs in results.items():
            assert ours.keys() == theirs.keys(), f"{row.name}: {name} has other results"
            differences = {key: row.difference(ours[key], theirs[key]) for key in ours}
            worst = max(differences, key=differences.get)
            found[name] = differences[worst]
            assert found[name] <= row.tolerance, (
                f"{row.name}: {worst} of {name} differs by {found[name]:.3g}, "
                f"allowed is {row.tolerance:g}"
            )
    return found


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")


PROCESSOR = {"seconds": "cpu_seconds", "p99_s": "p99_cpu_s"}
"""The figures that are times, and the same in processor time."""

UNITS = {
    "seconds": ("ms", 1e3),
    "bytes": ("MB", 1e-6),
    "p99_s": ("us", 1e6),
    "median_s": ("us", 1e6),
}


def table(results: dict[str, dict]) -> str:
    """The results as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Medians of interleaved repetitions; every contender is a process of its own. Results",
        "were compared before (last column: largest difference; none: another neuron model).",
        "",
        "| what | figure | ours | peer | theirs | ratio | of processor time | goal | reached "
        "| difference |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in ROWS:
        row = results.get(name)
        if row is None:
            continue
        for found in row["verdicts"]:
            unit, factor = UNITS[found["figure"]]
            ours, theirs = found["ours"] * factor, found["theirs"] * factor
            goal = f"{found['goal']:g} x"
            if found["limit"] is not None:
                goal += f", at most {found['limit'] * factor:g} {unit}"
            processor = found["processor_ratio"]
            difference = row["equal"].get(found["against"])
            lines.append(
                f"| {row['title']} | {found['figure'].removesuffix('_s')} "
                f"| {ours:.3g} {unit} | {found['against']} | {theirs:.4g} {unit} "
                f"| {found['ratio']:.1f} | {'' if processor is None else f'{processor:.1f}'} "
                f"| {goal} | {'yes' if found['reached'] else 'no'} "
                f"| {'none' if difference is None else f'{difference:.1g}'} |"
            )
        for peer, reason in row["absent"].items():
            lines.append(f"| {row['title']} | | | {peer} | absent: {reason} | | | | | |")
    lines += ["", "What was run:", ""]
    lines += [f"- {row['title']}: {row['work']}" for n in ROWS if (row := results.get(n))]
    machines = {
        json.dumps({k: v for k, v in r["machine"].items() if k != "load"}) for r in results.values()
    }
    loads = [row["machine"]["load"] for row in results.values()]
    threads = {row["threads"] for row in results.values()}
    lines += ["", f"Threads: {threads}. Load of the machine: {min(loads):.1f} to {max(loads):.1f}."]
    lines += [f"Machine: {machine}" for machine in sorted(machines)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--threads", type=int, default=2, help="of every contender (default 2)")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - ROWS.keys()
    if unknown:
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() and arguments.rows else {}
    for name in arguments.rows or ROWS:
        begun = time.perf_counter()
        results[name] = run(ROWS[name], arguments.threads)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        TABLE.write_text(table(results))
    print(TABLE.read_text())


if __name__ == "__main__":
    main()
