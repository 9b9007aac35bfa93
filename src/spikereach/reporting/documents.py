"""What is written beside tables and figures: documents that hold or accompany all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pandas.api.types import is_numeric_dtype, is_string_dtype

from spikereach.config import Search, System
from spikereach.reporting.render import page, quote
from spikereach.reporting.search import Trials, about, best, overlay


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


def best_system(trials: Trials, search: Search, systems: Mapping[str, System]) -> Document:
    """The best trial of a search, to lay over its configuration."""
    found = overlay(trials, search, systems[search.system])
    return Document({".yaml": about(best(trials)) + yaml.safe_dump(found, sort_keys=False)})


def metrics(tables: Iterable[str | Path]) -> Document:
    """The numbers of all tables in one JSON file, for tools that compare runs
    (`dvc metrics diff`), with sorted keys."""
    text = json.dumps(summarise(tables), indent=1, sort_keys=True, allow_nan=False) + "\n"
    return Document({".json": text})


def summarise(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Table -> names of a row, level by level -> column -> number.

    The names of a row are as many leading columns of text as tell all rows apart. Other columns
    without numbers and those of published figures are left out, as is what is missing.

    Args:
        paths: tables as CSV files; their names without suffix are the names of the tables.
    """
    return {Path(path).stem: _nest(pd.read_csv(path)) for path in paths}


def _nest(frame: pd.DataFrame) -> dict[str, Any]:
    texts = list(takewhile(lambda column: is_string_dtype(frame[column]), frame))
    prefixes = [texts[:end] for end in range(1, len(texts))]
    names = next((each for each in prefixes if not frame.duplicated(each).any()), texts)
    numbers = [
        column
        for column in frame
        if is_numeric_dtype(frame[column])
        and frame[column].dtype != bool
        and not column.endswith("_published")
    ]
    nested: dict[str, Any] = {}
    for row in frame.to_dict("records"):
        level = nested
        for name in names:
            if not pd.isna(row[name]):
                level = level.setdefault(row[name], {})
        level |= {each: row[each] for each in numbers if math.isfinite(row[each])}
    return nested
