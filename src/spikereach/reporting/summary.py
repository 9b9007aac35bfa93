"""The figures of all tables in one JSON file, for tools that compare runs (`dvc metrics diff`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype, is_string_dtype

from spikereach.reporting.render import write_text


def summarise(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Table -> names of a row, level by level -> column -> number.

    The names of a row are as many leading columns of text as tell all rows apart. Other columns
    without numbers and those of published figures are left out, as is what is missing.

    Args:
        paths: tables as CSV files; their names without suffix are the names of the tables.
    """
    return {Path(path).stem: _nest(pd.read_csv(path)) for path in paths}


def write(summary: dict[str, Any], path: str | Path) -> None:
    """Write as JSON with sorted keys, replaced in one step."""
    write_text(Path(path), json.dumps(summary, indent=1, sort_keys=True, allow_nan=False) + "\n")


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
            level = level.setdefault(row[name], {})
        level |= {each: row[each] for each in numbers if math.isfinite(row[each])}
    return nested
