"""Side-by-side benchmarks: `make bench`, or `python benchmarks/run.py [ROW ...]`.

Every contender is a process of its own (`worker.py`), so that memory, threads and global state of
the libraries stay apart. Results are compared before anything is timed; then the contenders take
turns, and medians are kept. A peer that is not installed is named as absent.

Writes benchmarks/results.json and benchmarks/results.md; a run of single rows updates theirs.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import worker
from rows import OURS, ROWS, Row

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results.json", HERE / "results.md"
PROCESSOR = re.compile(r"^model name\s*: (.*)$", re.MULTILINE)
PEERS = Path(os.environ.get("PEERS", Path(sys.prefix) / "peers"))
"""Where `make bench` installs the other libraries, apart from the environment."""


def run(row: Row, threads: int) -> dict:
    """One row: who was compared, all figures, and the ratios to ours."""
    threads = row.threads or threads
    workers, absent = {}, {}

    def ask(function: Callable, names: Iterable[str]) -> dict:
        """What each of the workers answers, one after the other."""
        return {name: workers[name].submit(function).result() for name in names if name in workers}

    with ExitStack() as stack:
        for name in row.contenders:
            process = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            try:
                process.submit(worker.set_up, row.name, name, threads).result()
                workers[name] = process
            except (ImportError, OSError) as error:
                absent[name] = f"{type(error).__name__}: {error}"
        equal = check(row, ask(worker.result, (OURS, *row.same) if row.same else ()))
        ask(worker.warm, workers)
        rounds = [ask(worker.measure, workers) for _ in range(row.repetitions)]
        measures_memory = any(goal.figure == "bytes" for goal in row.goals)
        memory = ask(worker.memory, workers if measures_memory else ())
    measurements = {name: [each[name] for each in rounds] for name in workers}
    medians = {name: pd.DataFrame(taken).median().to_dict() for name, taken in measurements.items()}
    for name, most in memory.items():
        medians[name]["bytes"] = most
    return {
        "title": row.title,
        "work": row.work,
        "medians": medians,
        "measurements": measurements,
        "lines": list(lines(row, medians, equal, absent)),
        "threads": threads,
        "machine": {
            "processor": "".join(PROCESSOR.findall(Path("/proc/cpuinfo").read_text("utf-8"))[:1]),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": version("torch"),
        },
        "load": os.getloadavg()[0],
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def lines(
    row: Row,
    medians: dict[str, dict[str, float]],
    equal: dict[str, float],
    absent: dict[str, str],
) -> Iterator[dict[str, str]]:
    """The row in the table: per goal and peer, whether it is reached, in wall time.

    The ratio in processor time stands beside it: a busy machine distorts it less.
    """
    for goal in row.goals:
        figure, limit = goal.figure, goal.limit
        unit, factor, processor_time = FIGURES[figure]
        for peer in goal.against or row.contenders:
            if peer == OURS or peer not in medians:
                continue
            ours, theirs = medians[OURS], medians[peer]
            ratio, most = theirs[figure] / ours[figure], ours[figure] if limit is None else limit
            reached = ratio >= goal.ratio and ours[figure] <= most
            by_processor = processor_time and theirs[processor_time] / ours[processor_time]
            yield {
                "what": row.title,
                "figure": figure.removesuffix("_s"),
                "ours": f"{ours[figure] * factor:.3g} {unit}",
                "peer": peer,
                "theirs": f"{theirs[figure] * factor:.4g} {unit}",
                "ratio": f"{ratio:.1f}",
                "of processor time": f"{by_processor:.1f}" if by_processor else "",
                "goal": f"{goal.ratio:g} x"
                + (f", at most {limit * factor:g} {unit}" if limit else ""),
                "reached": "yes" if reached else "no",
                "difference": f"{equal[peer]:.1g}" if peer in equal else "none",
            }
    for peer, reason in absent.items():
        yield {"what": row.title, "peer": peer, "theirs": f"absent: {reason}"}


def check(row: Row, results: dict[str, dict[str, np.ndarray]]) -> dict[str, float]:
    """Largest difference of each peer that claims our result.

    Raises:
        AssertionError: results differ by more than the row allows.
    """
    found = {}
    for name, theirs in results.items():
        ours = results[OURS]
        assert ours.keys() == theirs.keys(), f"{row.name}: {name} has other results"
        found[name], worst = max((row.difference(ours[key], theirs[key]), key) for key in ours)
        assert found[name] <= row.tolerance, (
            f"{row.name}: {worst} of {name} differs by {found[name]:.3g}, "
            f"allowed is {row.tolerance:g}"
        )
    return found


FIGURES = {
    "seconds": ("ms", 1e3, "cpu_seconds"),
    "bytes": ("MB", 1e-6, None),
    "p99_s": ("us", 1e6, "p99_cpu_s"),
}
"""Unit, its factor, and the same figure in processor time."""

TEXT = """\
# Benchmarks

Medians of interleaved repetitions; every contender is a process of its own. Results
were compared before (last column: largest difference; none: another neuron model).

{lines}

What was run:

{work}

Threads: {threads}. Load of the machine: {low:.1f} to {high:.1f}.
{machines}
"""


def table(results: dict[str, dict]) -> str:
    """The results as Markdown."""
    rows = [results[name] for name in ROWS if name in results]
    found = pd.DataFrame([line for row in rows for line in row["lines"]]).fillna("")
    return TEXT.format(
        lines=found.to_markdown(index=False, disable_numparse=True),
        work="\n".join(f"- {row['title']}: {row['work']}" for row in rows),
        threads=sorted({row["threads"] for row in rows}),
        low=min(row["load"] for row in rows),
        high=max(row["load"] for row in rows),
        machines="\n".join(sorted({f"Machine: {json.dumps(row['machine'])}" for row in rows})),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--threads", type=int, default=2, help="of every contender (default 2)")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - ROWS.keys()
    if unknown:
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    sys.path.insert(1, str(PEERS))  # which the workers take over
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() and arguments.rows else {}
    for name in arguments.rows or ROWS:
        begun = time.perf_counter()
        results[name] = run(ROWS[name], arguments.threads)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        TABLE.write_text(table(results), "utf-8")
    print(TABLE.read_text("utf-8"))


if __name__ == "__main__":
    main()
