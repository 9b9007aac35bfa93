"""What to write instead of what is refused: the known name that a mistyped one comes closest to, or
the way to write what YAML or Snakemake's ``--config`` read as something else.

YAML takes an unquoted name of digits for a number (``20240501_01``: digits may be grouped by
``_``), others for a truth value (``no``), a date or null. ``--config`` takes numbers and ``True``
alike, strips quotes, and leaves whatever stands in brackets text.
"""

import contextlib
import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from spikereach.config.nearest import closest, nearest

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


def hint(problem: Mapping[str, Any], model: type[BaseModel], raw: Mapping[str, Any]) -> str:
    """The remedy for an error of pydantic (`ErrorDetails`) in the configuration ``raw`` of a model;
    empty where the message says all."""
    kind, value = problem["type"], problem["input"]
    at = [str(part) for part in problem["loc"]]
    if kind == "extra_forbidden":
        block = _block(model, problem["loc"][:-1])
        section = "Keys" if block is model else block.__name__
        return f'see "{section}" in config/README.md; {nearest(at[-1], _keys(block))}'
    if kind in ("literal_error", "union_tag_invalid"):  # the message lists them
        context = problem["ctx"]
        known = re.findall("'([^']*)'", context.get("expected", context.get("expected_tags")))
        close = closest(str(context.get("tag", value)), known)
        return f"did you mean {close}?" if close else ""
    if kind == "like":
        if problem["msg"] != "no such system":
            return "the changed one needs a name of its own"
        return nearest(str(value), (str(name) for name in raw["systems"] if str(name) != at[1]))
    if kind == "missing" and at[0] == "systems" and at[2:] == ["architecture"]:
        others = (str(name) for name in raw["systems"] if str(name) != at[1])
        close = closest(at[1], others)
        meant = f"; did you mean {close}?" if close else ""
        return f"a system of its own has all keys, or `like: NAME` and its changes{meant}"
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


def _keys(block: type[BaseModel]) -> dict[str, Any]:
    """The annotation of each key, as it is written in YAML."""
    fields = block.model_fields.items()
    return {field.alias or name: field.annotation for name, field in fields}


def _block(annotation: Any, at: Sequence[str | int]) -> type[BaseModel]:
    """The model of the mapping at a place, as pydantic gives places: with the names of keys, the
    positions in lists, and the `kind` behind the position of a compression step."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _block(_keys(annotation)[at[0]], at[1:]) if at else annotation
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is dict:
        return _block(parts[1], at[1:])
    if kind is tuple:
        return _block(parts[0], at[1:])
    if kind is Annotated:
        return _block(parts[0], at)
    models = [part for part in parts if part is not type(None)]
    if len(models) > 1:
        models = [m for m in models if get_args(_keys(m)["kind"]) == (at[0],)]
        at = at[1:]
    return _block(models[0], at)
