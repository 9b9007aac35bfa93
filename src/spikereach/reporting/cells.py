"""Rows and printed cells that tables share: a number looks the same wherever it stands.

Every number of ours is the mean over the sessions for each seed, then mean and population
standard deviation over the seeds. One seed has no deviation, and none is printed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from spikereach.config import System
from spikereach.evaluation.records import Format
from spikereach.published import figures
from spikereach.reporting.collect import ResultError, source_of
from spikereach.reporting.render import MISSING, Align, Column, Table

Systems = Mapping[str, System]
"""The rows of a table in order: system name to its entry in the configuration."""

_WORST = {"realtime": min, "latency_ms": max, "execution_rate_hz": min, "in_time": min}
_WORST |= dict.fromkeys(("lookahead_declared", "lookahead_measured", "load"), max)


class Rows:
    """A table with a row per system: our numbers, and the published ones beside.

    Of each row, ``KEY_published`` is the published figure beside ours, None where there is none.

    Args:
        frame: from `collect`.
        systems: rows, in order; `published` of each names the figures printed beside it.
        beside: the columns of the CSV with the published ones beside, as `Figures` has them.
        further: the columns behind these.
    Raises:
        ResultError: when a system has no results, or the frame lacks a column.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        systems: Systems,
        *,
        beside: Sequence[str] = (),
        further: Sequence[str] = (),
    ):
        needed = dict.fromkeys(name.removesuffix("_std") for name in (*beside, *further))
        if lacking := [name for name in needed if name not in frame]:
            raise ResultError(
                f"the results lack {', '.join(lacking)}: give the metrics.json and the "
                "realtime.json of every run"
            )
        self.frame = frame[frame["system"].isin(systems)]
        self._beside, self._further = beside, further
        self.rows = [_row(frame, name, system) for name, system in systems.items()]

    def table(
        self,
        name: str,
        what: str,
        columns: list[Column],
        *,
        costs: bool = False,
        notes: tuple[str, ...] = (),
    ) -> Table:
        """The table with these printed columns; arguments as of `result_table`."""
        keys = ["system", "spiking", "sessions", "seeds"]
        keys += [key for each in self._beside for key in (each, f"{each}_published")]
        keys += [*self._further, "source_published"]
        # object columns: integers stay integers beside empty fields
        values = pd.DataFrame(self.rows, columns=keys, dtype=object)
        values = values.rename(columns={"source_published": "published_source"})
        rest = {"rows": self.rows, "costs": costs, "notes": notes}
        return result_table(name, what, self.frame, values, columns, **rest)

    def names(self) -> list[Column]:
        return [
            Column("System", [row["system"] for row in self.rows], align="l"),
            Column("Spiking", [yes(row["spiking"]) for row in self.rows], align="c"),
        ]

    def column(
        self, heading: str, group: str, form: Callable[..., str], *keys: str, align: Align = "r"
    ) -> Column:
        """A number of each row, or a number and its deviation."""
        cells = [form(*(row[key] for key in keys)) for row in self.rows]
        return Column(heading, cells, group, align)

    def beside(
        self,
        group: str,
        metric: str,
        form: Callable[..., str],
        theirs: Callable[..., str] | None = None,
        *,
        std: bool = False,
        align: Align = "r",
    ) -> list[Column]:
        """Two columns: ours and the published figures, with deviations or without."""
        keys = [metric, f"{metric}_std"] if std else [metric]
        published = [f"{key}_published" for key in keys]
        return [
            self.column("ours", group, form, *keys, align=align),
            self.column("publ.", group, theirs or form, *published, align=align),
        ]


def _row(frame: pd.DataFrame, name: str, system: System) -> dict[str, Any]:
    """The numbers of a system with their deviations, and its published `Figures`."""
    part = frame[frame["system"] == name]
    if part.empty:
        known = ", ".join(sorted(frame["system"].unique()))
        raise ResultError(f"no results of the system {name!r}; there are some of: {known}")
    row: dict[str, Any] = {"system": name, "spiking": system.spiking}
    row["sessions"], row["seeds"] = part["session"].nunique(), part["seed"].nunique()
    published = figures.system(system.published) if system.published else figures.Figures("")
    row |= {f"{key}_published": value for key, value in vars(published).items()}
    by_seed = part.groupby("seed")
    for metric in part.select_dtypes(["number", "bool"]).columns.drop("seed"):
        if metric in _WORST:
            row[metric] = _WORST[metric](part[metric])
        elif metric.endswith("_worst"):
            row[metric] = max(part[metric])
        else:
            row[metric], row[f"{metric}_std"] = spread(by_seed[metric].mean())
    return row


def result_table(
    name: str,
    what: str,
    frame: pd.DataFrame,
    values: pd.DataFrame,
    columns: list[Column],
    *,
    stub: int = 1,
    rows: list[dict[str, Any]] = (),
    costs: bool = False,
    notes: tuple[str, ...] = (),
) -> Table:
    """A table whose caption says what it shows, from which data, and against which papers.

    ``what`` are the table's own sentences, without the last full stop; ``rows``, where published
    figures stand beside ours, those of `Rows`; with ``costs`` the table holds figures that
    NeuroBench counts over the test steps; of ``notes``, empty ones are left out. All others are as
    of `Table`.
    """
    source = source_of(frame)
    names = sorted(frame["session"].unique())
    sessions, seeds = ", ".join(names), seeds_of(frame)
    commits = ", ".join(sorted(frame["commit"].unique()))  # of the code that made the results
    parts = [what + "."]
    deviations = any("±" in cell for column in columns for cell in column.cells)
    if deviations and frame["seed"].nunique() > 1:
        parts.append("Our ± is the population standard deviation over seeds.")
    plural = "s" * (len(names) > 1)
    parts.append(f"{source.caption}, session{plural} {sessions}; {seeds}; commit {commits}.")
    sliced = frame[frame["verified_steps"] < frame["test_steps"]]
    if costs and len(sliced):
        parts.append(
            "Sparsities and operations are counted over the whole test split; NeuroBench itself "
            f"counted at least the first {sliced['verified_steps'].min():,} steps and agreed."
        )
    cited = sorted({row["source_published"] for row in rows} - {None})
    if cited:
        papers = ", ".join(map(figures.citation, cited))
        parts.append(f"Published (publ.): {papers}; means over the six recordings I1 to L3.")
        if source.apart:
            parts.append(source.apart)
    comment = (
        f"source: {source.name}",
        f"sessions: {sessions}",
        seeds.replace(" ", ": ", 1),
        f"commit: {commits}",
    )
    return Table(name, " ".join(parts), comment, values, columns, stub, tuple(filter(None, notes)))


def seeds_of(frame: pd.DataFrame) -> str:
    """``seeds 0, 1, 2``, and which systems have other ones."""
    every = sorted(frame["seed"].unique())
    others = [
        f"{name}: {', '.join(map(str, sorted(set(own))))}"
        for name, own in frame.groupby("system")["seed"]
        if set(own) != set(every)
    ]
    text = f"seed{'s' * (len(every) > 1)} {', '.join(map(str, every))}"
    return text + (f" ({'; '.join(others)})" if others else "")


def spread(values: pd.Series, std: float = math.nan) -> tuple[float, float]:
    """Mean and population deviation; of a single value the given one, which may be unknown."""
    if len(values) > 1:
        std = float(values.std(ddof=0))
    return float(values.mean()), std


# ---- Numbers as text -------------------------------------------------------------------


def number(form: str) -> Callable[[float | None], str]:
    return lambda value: MISSING if pd.isna(value) else form.format(value)


count = number("{:,.0f}")
share = number("{:.3f}")
rate = number("{:.3g}")


def r2(value: float | None, std: float | None = None) -> str:
    return MISSING if pd.isna(value) else pair(minus(f"{value:.3f}"), std, "{:.3f}")


def cost(value: float, std: float) -> str:
    """Operations per step: one decimal below 1,000, none above; an exact 0 is bare."""
    if value == 0 and (pd.isna(std) or std == 0):
        return "0"
    form = "{:,.1f}" if value < 1000 else "{:,.0f}"
    return pair(form.format(value), std, form)


def as_printed(value: float | None, std: float | None = None) -> str:
    """A published figure with the digits its paper gives."""
    return MISSING if pd.isna(value) else pair(f"{value:,}".removesuffix(".0"), std, "{:,}")


def significant(value: float) -> str:
    """Three digits, trailing zeros included."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def signed(value: float) -> str:
    return minus(f"{value:+.3f}")


def yes(value: bool | None) -> str:
    return MISSING if value is None else ("yes" if value else "no")


def bits(number_format: Format) -> str:
    """``1+1+7``: sign, integer and fractional bits; ``8``: all bits, of scaled weights."""
    if isinstance(number_format, str | int):
        return str(number_format)
    return "1+" + "+".join(map(str, number_format))


def minus(text: str) -> str:
    return text.replace("-", "−")


def pair(value: str, std: float | None, form: str) -> str:
    return value if pd.isna(std) else f"{value} ± {form.format(std)}"
