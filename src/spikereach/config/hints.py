"""What to write instead, where YAML or Snakemake's ``--config`` read a value as something else.

YAML takes an unquoted name of digits for a number (``20240501_01``: digits may be grouped by
``_``), others for a truth value (``no``), a date or null. ``--config`` takes numbers and ``True``
alike, strips quotes, and leaves whatever stands in brackets text.
"""

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

READ_AS = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    datetime.date: "a date",
    datetime.datetime: "a time",
    type(None): "null",
}
"""What an unquoted text may be to YAML."""
NOTHING = ("", "null", "~")


def hint(problem: Mapping[str, Any]) -> str:
    """The remedy for an error of pydantic (`ErrorDetails`); empty where its message says all."""
    kind, value = problem["type"], problem["input"]
    at = [str(part) for part in problem["loc"]]
    key = next((part for part in reversed(at) if not part.isdecimal()), "")
    top = len(at) == 1  # others cannot be given by `--config KEY=`
    if kind == "string_type" and type(value) in READ_AS:
        what = READ_AS[type(value)]
        if key == "[key]":
            return f'YAML reads the name as {what}: quote it, "NAME": ...'
        if at[-1].isdecimal():
            typed = f" (on the command line, --config '{key}=[NAME]')" * (len(at) == 2)
            return f'YAML reads it as {what}: quote it, {key}: ["NAME"]{typed}'
        typed = f" (on the command line, --config '{key}=!!str TEXT')" * top
        return f'YAML reads it as {what}: quote it, {key}: "TEXT"{typed}'
    if kind == "string_pattern_mismatch" and "areas" in at:
        return "an area has any name without `=` and `,`, and single spaces only within it"
    if kind == "tuple_type" and not isinstance(value, dict):
        items = ", ".join(value.replace(",", " ").split()) if isinstance(value, str) else "..."
        typed = f" (on the command line, --config '{key}=[{items}]')" * top
        return f"a list is written {key}: [{items}]{typed}"
    if kind in ("dict_type", "model_type") and value is None:
        return f"where nothing is meant, write {key}: {{}}"
    if kind != "string_pattern_mismatch" and isinstance(value, str) and value.strip() in NOTHING:
        typed = f", or --config {key}=" * top
        return f"--config reads it as text: write {key}: null in a YAML file{typed}"
    return ""


def numbers_as_text(value: Any) -> Iterator[tuple[str, int | float]]:
    """Texts in a value or in its lists that look like numbers, and these: YAML wants a point and a
    sign in ``1.0e-3``, and ``--config`` leaves numbers in brackets text."""
    if isinstance(value, list):
        for item in value:
            yield from numbers_as_text(item)
    elif isinstance(value, str) and value[-1:].isdecimal():
        with contextlib.suppress(ValueError):
            yield value, int(value) if value.isdecimal() else float(value)
