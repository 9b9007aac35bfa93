"""How commands print what they found."""

import json
from typing import Any

import typer


def show(found: dict[str, Any], as_json: bool, text: str, **more: str) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        verdict = "yes" if found.get("realtime") else "no"
        typer.echo(text.format(**found, **more, verdict=verdict), nl=False)
