"""From the inputs of a table, figure or document to its files."""

import json
from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from spikereach import files
from spikereach.config import Search, System, Trajectory
from spikereach.export.firmware.record import Firmware
from spikereach.reporting.collect import collect, read_loop


def make(function: str, inputs: Mapping[str, Any], settings: str) -> dict[str, bytes]:
    """Call a function of the registry with those of its inputs and settings that it names.

    Args:
        function: ``package.module:function``.
        inputs: name -> file or files. Results (``metrics``, ``realtime``) reach the function as
            one ``frame``, ``firmware``, ``loops`` and ``trials`` as what is in them, all others as
            paths.
        settings: JSON; ``systems`` as pairs of name and entry, ``remark`` what the run says under
            each table.
    Returns:
        suffix -> content.
    """
    known = {**json.loads(settings), **inputs}
    if "systems" in known:
        known["systems"] = {name: System.model_validate(each) for name, each in known["systems"]}
    for name, model in (("search", Search), ("trajectory", Trajectory)):
        if name in known:
            known[name] = model.model_validate(known[name])
    if "metrics" in known:
        known["frame"] = collect([*known["metrics"], *known.get("realtime", ())])
    if "firmware" in known:
        known["firmware"] = [Firmware.read(path) for path in known["firmware"]]
    if "loops" in known:
        known["loops"] = [read_loop(path) for path in known["loops"]]
    if "trials" in known:
        known["trials"] = [json.loads(Path(path).read_bytes()) for path in known["trials"]]
    build = resolve_name(function)
    made = build(**{name: known[name] for name in signature(build).parameters})
    if "remark" in known:
        made = replace(made, notes=(*made.notes, known["remark"]))
    return made.files()


def write(made: Mapping[str, bytes], stem: str | Path) -> None:
    """Write all files of one name, each replaced in one step.

    Raises:
        OSError: naming the file.
    """
    for suffix, content in made.items():
        files.replace(f"{stem}{suffix}", content)
