"""What is written beside tables and figures: documents that hold or accompany all of them."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pandas.api.types import is_string_dtype

from spikereach.config import Search, System
from spikereach.reporting.render import page, quote
from spikereach.reporting.search import Trials, best, frontier


@dataclass(frozen=True)
class Document:
    """Files of one name: suffix -> text."""

    texts: Mapping[str, str]

    def files(self) -> dict[str, bytes]:
        return {suffix: text.encode() for suffix, text in self.texts.items()}


def paper(tables: Iterable[str | Path], where_made: Iterable[str] = ()) -> Document:
    """A LaTeX document, beside the tables in one folder, that prints all of them.

    Args:
        tables: files of tables that are there.
        where_made: names of tables printed if they are there when the document is compiled.
    """
    lines = [
        r"\documentclass[10pt,a4paper]{article}",
        r"\usepackage{booktabs}",
        r"% margins of 20 mm without a further package",
        r"\setlength{\textwidth}{170mm}",
        r"\setlength{\oddsidemargin}{-5.4mm}",
        r"\setlength{\textheight}{250mm}",
        r"\setlength{\topmargin}{-20mm}",
        r"\begin{document}",
    ]
    lines += [rf"\input{{{name}.tex}}" for name in (Path(table).stem for table in tables)]
    lines += [rf"\IfFileExists{{{name}.tex}}{{\input{{{name}.tex}}}}{{}}" for name in where_made]
    lines += [r"\end{document}"]
    return Document({".tex": "\n".join(lines) + "\n"})


def configuration(config: Mapping[str, Any]) -> Document:
    """The configuration of the run, as all its jobs saw it, beside its results."""
    text = yaml.safe_dump(dict(config), sort_keys=False)
    return Document({".yaml": text, ".html": page("Configuration", f"<pre>{quote(text)}</pre>")})


def best_system(
    trials: Trials, name: str, search: Search, systems: Mapping[str, System]
) -> Document:
    """The trial of a search with the highest R2 as a system of its own, ``NAME-best``.

    An overlay over its configuration. It keeps the recipe of the searched system, pretraining and
    compression included.
    """
    return _as_systems({f"{name}-best": best(trials)}, {}, search, systems)


def frontier_systems(
    trials: Trials, name: str, search: Search, systems: Mapping[str, System]
) -> Document:
    """The trials of a search that no other one surpasses as systems, ``NAME-trialN``.

    An overlay as of :func:`best_system`, with the searched system and these in the table frontier.
    Of trials with equal parameters, which would be one system, it has the best.
    """
    kept = frontier(trials, search)
    by_r2 = sorted(kept, key=lambda trial: trial["r2"])
    best = {tuple(sorted(trial["parameters"].items())): trial for trial in by_r2}
    found = {f"{name}-trial{t['number']}": t for t in kept if t in best.values()}
    tables = {"tables": {"frontier": [search.system, *found]}}
    return _as_systems(found, tables, search, systems)


def _as_systems(
    found: Mapping[str, Mapping[str, Any]],
    rest: Mapping[str, Any],
    search: Search,
    systems: Mapping[str, System],
) -> Document:
    lines, entries = [], {}
    for name, trial in found.items():
        verdict = "real-time" if trial["realtime"] else "not real-time"
        lines.append(
            f"# Trial {trial['number']} of the search: validation R2 {trial['r2']:.3f}, "
            f"{trial['deployment_bytes']:,} bytes deployed,\n"
            f"# {trial['energy_nj']:.3g} nJ per step, latency {trial['latency_ms']:g} ms "
            f"({verdict}).\n"
        )
        system = search.configured(systems[search.system], trial["parameters"])
        entries[name] = system.model_dump(mode="json", exclude_defaults=True, exclude={"published"})
    lines.append("# Lay it over the configuration of the search, with --configfile.\n")
    text = yaml.safe_dump({"systems": entries} | dict(rest), sort_keys=False)
    return Document({".yaml": "".join(lines) + text})


def metrics(tables: Iterable[str | Path]) -> Document:
    """The numbers of all tables in one JSON file, for tools that compare runs
    (`dvc metrics diff`), with sorted keys.

    Table -> names of a row, level by level -> column -> number. The names of a row are as many
    leading columns of text as tell all rows apart. Other columns without numbers and those of
    published figures are left out, as is what is missing.

    Args:
        tables: CSV files; their names without suffix are the names of the tables.
    """
    frames = {Path(path).stem: pd.read_csv(path) for path in tables}
    if "frontier" in frames:  # whose published figures are rows
        frames["frontier"] = frames["frontier"].query("origin == 'trained here'")
    numbers = {name: _nest(frame) for name, frame in frames.items()}
    return Document(
        {".json": json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False) + "\n"}
    )


def _nest(frame: pd.DataFrame) -> dict[str, Any]:
    texts = list(takewhile(lambda column: is_string_dtype(frame[column]), frame))
    prefixes = [texts[:end] for end in range(1, len(texts))]
    names = next((each for each in prefixes if not frame.duplicated(each).any()), texts)
    numbers = [each for each in frame.select_dtypes("number") if not each.endswith("_published")]
    nested: dict[str, Any] = {}
    for row in frame.to_dict("records"):
        level = nested
        for name in names:
            if not pd.isna(row[name]):
                level = level.setdefault(row[name], {})
        level |= {each: row[each] for each in numbers if math.isfinite(row[each])}
    return nested
