"""Results of one session, several systems side by side, as one self-contained HTML file.

The page needs no server and no network: its content security policy forbids all requests, and
allows only the style and the program that are written into it.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from spikereach import files
from spikereach.data import sources
from spikereach.identity import text_checksum
from spikereach.reporting import predictions
from spikereach.reporting.collect import KEY, ResultError, collect
from spikereach.reporting.plots.colours import TRUE, colour
from spikereach.reporting.predictions import Predictions


@dataclass(frozen=True, eq=False)
class _Result:
    """One result folder."""

    folder: Path
    about: dict[str, Any]
    """Its row of `collect`."""
    decoded: Predictions


def write(results: Sequence[str | Path], out: str | Path, *, start_s: float, seconds: float) -> str:
    """Write the page of some results, whole or not at all.

    Args:
        results: folders ``results/evaluate/SYSTEM/SESSION/seedN`` of one session, in the order
            in which they shall stand on the page.
        out: the HTML file.
        start_s: start of the stretch shown, in seconds after the start of the test part.
        seconds: its length; shortened where the test part ends.
    Returns:
        what the page shows, in words.
    Raises:
        ResultError: a file is missing or damaged, a result is given twice, the results are not
            of one session, or the stretch begins after the end of the test part.
    """
    found = [_read(Path(folder)) for folder in results]
    _check(found)
    decoded = [result.decoded for result in found]
    here = predictions.stretch(decoded, start_s, seconds, shorten=True)
    files.replace(out, _page(_content(found, here)).encode())
    names = ", ".join(dict.fromkeys(one.system for one in decoded))
    length = (here.stop - here.start) * decoded[0].dt_s
    return f"{names} on {decoded[0].session}, {length:g} s of the test part"


def _read(folder: Path) -> _Result:
    about = collect([folder / "metrics.json", folder / "realtime.json"]).iloc[0].to_dict()
    decoded = predictions.read(folder / "predictions.h5")
    for key in KEY:
        if getattr(decoded, key) != about[key]:
            raise ResultError(
                f"{folder}: predictions.h5 is of {key} {getattr(decoded, key)}, metrics.json of "
                f"{about[key]}; evaluate this system again"
            )
    return _Result(folder, about, decoded)


def _check(found: list[_Result]) -> None:
    """All of one session, and each once."""
    first = found[0]
    seen: dict[tuple[str, int], Path] = {}
    for result in found:
        one, other = result.decoded, first.decoded
        if one.session != other.session:
            raise ResultError(
                f"{result.folder} is of session {one.session}, {first.folder} of "
                f"{other.session}: give results of one session"
            )
        steps = min(len(one.velocity), len(other.velocity))
        same = (one.first_step, one.dt_s) == (other.first_step, other.dt_s)
        if not same or not np.array_equal(one.position[:steps], other.position[:steps]):
            raise ResultError(
                f"{result.folder} and {first.folder} were evaluated on different recordings "
                f"named {one.session}: evaluate both again"
            )
        key = (one.system, one.seed)
        if seen.setdefault(key, result.folder) is not result.folder:
            raise ResultError(
                f"{one.system} with seed {one.seed} is given twice: {seen[key]}, {result.folder}"
            )


def _content(found: list[_Result], here: slice) -> dict[str, Any]:
    """Everything that the page shows, as JSON-like values."""
    first = found[0].decoded
    # Systems read different cortex areas; those that read all of them show the most.
    raster = max((result.decoded for result in found), key=lambda one: one.spikes.shape[1])
    source = sources.named(found[0].about["source"])
    return {
        "session": first.session,
        "monkey": found[0].about["monkey"],
        "source": source.name,
        "real": source.real,
        "unit": source.unit,
        "dt": first.dt_s,
        "start": here.start * first.dt_s,
        "steps": here.stop - here.start,
        "test": len(first.predicted) * first.dt_s,
        "channels": raster.spikes.shape[1],
        "spikes": _base64(np.packbits(raster.spikes[here], axis=1)),
        "position": _packed(first.position[here]),
        "velocity": _packed(first.velocity[here] / first.dt_s),
        "true": TRUE,
        "systems": [
            result.about  # all that was measured, under the names of `evaluation.records`
            | {
                "colour": colour(result.decoded.system),
                "channels": result.decoded.spikes.shape[1],
                "velocity": _packed(result.decoded.predicted[here] / first.dt_s),
            }
            for result in found
        ],
    }


def _packed(values: np.ndarray) -> dict[str, Any]:
    """An array as int16 and a scale: 1/32767 of its largest value is far below a pixel."""
    scale = float(np.abs(values).max()) / 32767 or 1.0
    return {"scale": scale, "data": _base64(np.rint(values / scale).astype("<i2"))}


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _page(content: dict[str, Any]) -> str:
    folder = resources.files(__package__)
    style, program = (folder.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    # Inside a script element only "<" could end it; names reach the page as text alone.
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "title": html.escape(f"{content['session']} – decoders"),
        "policy": f"default-src 'none'; img-src data:; style-src {_sha256(style)}; "
        f"script-src {_sha256(program)}",
        "style": style,
        "program": program,
        "data": data,
    }
    template = folder.joinpath("page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(bytes.fromhex(text_checksum(text))).decode()}'"
