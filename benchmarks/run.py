"""Side-by-side benchmarks: `make bench`, or `python benchmarks/run.py [ROW ...]`.

Every contender is a process of its own (`worker.py`), so that memory, threads and global state of
the libraries stay apart. Results are compared before anything is timed; then the contenders take
turns, and medians are kept. A peer that is not installed is named as absent.

Writes benchmarks/results.json and benchmarks/results.md after every row, in the place of that row
alone. A row that fails, because results differ or a process ends, is marked in both; the others go
on, and the exit code is 1.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import worker
from rows import OURS, ROWS, SPIKES, Row

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results.json", HERE / "results.md"
PROCESSOR = re.compile(r"^model name\s*: (.*)$", re.MULTILINE)
PARTING = 0.1
"""Share of windows in which ours may part from float64 by a flip; one always may."""
PEERS = Path(os.environ.get("PEERS", Path(sys.prefix) / "peers"))
"""Where `make bench` installs the other libraries, apart from the environment."""


class Difference(NamedTuple):
    """How far a result is from the one it is compared with."""

    largest: float
    apart: int = 0
    """Windows in which a spike flipped, and which were left out for it."""
    windows: int = 0


def run(row: Row, threads: int) -> dict:
    """One row: who was compared, all figures, and the ratios to ours."""
    workers, absent = {}, {}

    def ask(function: Callable, names: Iterable[str], *arguments: Any) -> dict:
        """What each of the workers answers, one after the other."""
        asked = [name for name in names if name in workers]
        return {name: workers[name].submit(function, *arguments).result() for name in asked}

    with ExitStack() as stack:
        for name in row.contenders:
            process = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            try:
                process.submit(worker.set_up, row.name, name, threads).result()
                workers[name] = process
            except (ImportError, OSError) as error:
                absent[name] = f"{type(error).__name__}: {error}"
        equal = check(row, partial(ask, worker.result))
        timed = [name for name in workers if name != row.exact]
        ask(worker.warm, timed)
        rounds = [ask(worker.measure, timed) for _ in range(row.repetitions)]
        measures_memory = any(goal.figure == "bytes" for goal in row.goals)
        memory = ask(worker.memory, timed if measures_memory else ())
    measurements = {name: [each[name] for each in rounds] for name in timed}
    medians = {name: pd.DataFrame(taken).median().to_dict() for name, taken in measurements.items()}
    for name, most in memory.items():
        medians[name]["bytes"] = most
    return {
        "medians": medians,
        "measurements": measurements,
        "lines": list(lines(row, medians, equal, absent)),
    }


def attempt(row: Row, threads: int) -> dict:
    """What :func:`run` finds, or how it failed; and where and when that was."""
    threads = row.threads or threads
    try:
        found = run(row, threads)
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(str(error).split())
        failed = f"{type(error).__name__}: {reason}"
        found = {"failed": failed, "lines": [{"what": row.title, "ours": f"failed: {failed}"}]}
    return {
        "title": row.title,
        "work": row.work,
        **found,
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
    equal: dict[str, Difference],
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
                "difference": _told(equal, peer),
            }
    for peer, reason in absent.items():
        yield {"what": row.title, "peer": peer, "theirs": f"absent: {reason}"}


def check(row: Row, ask: Callable[..., dict[str, dict[str, np.ndarray]]]) -> dict[str, Difference]:
    """Differences of those that claim one result: of peers from ours, or of both from float64.

    Spikes are all or nothing: where a membrane comes to its threshold to within rounding, two sound
    computations part, and so does all that follows in that window. Such windows are counted on
    either side, and the rest is compared as a batch of its own.

    Args:
        row: of the benchmark.
        ask: gives the results of these contenders by name, if given of these windows only.
    Raises:
        AssertionError: results differ by more than the row allows, or ours in more windows than
            rounding explains.
    """
    if not row.same:
        return {}
    reference = row.exact or OURS
    everyone = (OURS, *row.same, *filter(None, [row.exact]))
    results = ask(everyone)
    names = [name for name in results if name != reference]
    apart, kept = dict.fromkeys(names, 0), np.arange(_windows(results[reference]))
    count = len(kept)
    while len(kept):
        flipped = {name: _flipped(results[name], results[reference]) for name in names}
        parting = np.any(list(flipped.values()), axis=0)
        if not parting.any():
            break
        apart = {name: apart[name] + int(flipped[name].sum()) for name in names}
        kept = kept[~parting]
        told = f"{row.name}: spikes flip in these windows of {count}: {apart}"
        assert apart[OURS] <= max(1, PARTING * count), f"{told}; rounding explains fewer"
        assert len(kept) >= count / 2, f"{told}; too few are left to compare"
        results = ask(everyone, kept)
    found = {}
    for name in names:
        ours, theirs = _values(results[name]), _values(results[reference])
        assert ours.keys() == theirs.keys(), f"{row.name}: {name} has other results"
        largest, worst = max((row.difference(ours[key], theirs[key]), key) for key in ours)
        found[name] = Difference(largest, apart[name], count)
        # A peer may be further from float64 than ours: that is told, and no fault of ours.
        assert largest <= row.tolerance or (row.exact and name != OURS), (
            f"{row.name}: {worst} of {name} differs from that of {reference} by {largest:.3g}, "
            f"allowed is {row.tolerance:g}"
        )
    return found


def _windows(result: dict[str, np.ndarray]) -> int:
    """How many there are; 0 where a result has no spikes."""
    return next((each.shape[1] for key, each in result.items() if key.startswith(SPIKES)), 0)


def _flipped(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> np.ndarray:
    """Which windows have another spike somewhere."""
    each = [(ours[k] != theirs[k]).any(axis=(0, 2)) for k in theirs if k.startswith(SPIKES)]
    return np.any(each, axis=0)


def _values(result: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All but the spikes."""
    return {key: each for key, each in result.items() if not key.startswith(SPIKES)}


def _told(equal: dict[str, Difference], peer: str) -> str:
    """The difference of a peer; beside it, where both are compared with float64, ours."""
    if peer not in equal:
        return "none"
    if OURS not in equal:
        return f"{equal[peer].largest:.1g}"
    ours, theirs = equal[OURS], equal[peer]
    return (
        f"ours {ours.largest:.1g}, theirs {theirs.largest:.1g}; "
        f"flips in {ours.apart} and {theirs.apart} of {ours.windows} windows"
    )


FIGURES = {
    "seconds": ("ms", 1e3, "cpu_seconds"),
    "bytes": ("MB", 1e-6, None),
    "p99_s": ("us", 1e6, "p99_cpu_s"),
}
"""Unit, its factor, and the same figure in processor time."""

TEXT = """\
# Benchmarks

Medians of interleaved repetitions; every contender is a process of its own. Results
were compared before (last column: largest difference from ours, or of both from float64 where no
spike flips; none: another neuron model). A row that failed is marked.

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


def write(path: Path, text: str) -> None:
    """Whole or not at all. Not `spikereach.files`: its package sets how this process's children
    wait for each other, peers among them."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--threads", type=int, default=2, help="of every contender (default 2)")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - ROWS.keys()
    if unknown:
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    sys.path.insert(1, str(PEERS))  # which the workers take over
    results = json.loads(RESULTS.read_bytes()) if RESULTS.exists() else {}
    names = arguments.rows or list(ROWS)
    for name in names:
        begun = time.perf_counter()
        results[name] = attempt(ROWS[name], arguments.threads)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        write(RESULTS, json.dumps(results, indent=1) + "\n")
        write(TABLE, table(results))
    print(TABLE.read_text("utf-8"))
    failed = [name for name in names if "failed" in results[name]]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
