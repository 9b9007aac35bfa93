"""How commands print what they found."""

import json
from collections.abc import Callable
from typing import Any

import typer


def tell(found: dict[str, Any], as_json: bool, text: Callable[[], str]) -> None:
    """As JSON, or as the text, which is made only then."""
    typer.echo(json.dumps(found, indent=2, allow_nan=False) if as_json else text())


def show(found: dict[str, Any], as_json: bool, template: str, **more: str) -> None:
    """As JSON, or filled into a template of whole lines."""
    verdict = "yes" if found.get("realtime") else "no"
    filled = template.removesuffix("\n").format
    tell(found, as_json, lambda: filled(**found, **more, verdict=verdict))
