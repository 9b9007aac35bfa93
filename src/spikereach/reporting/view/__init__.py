"""Results of one session side by side, of systems, seeds or runs, as one self-contained HTML file.

The page needs no server and no network: its content security policy forbids all requests, and
allows only the style and the program that are written into it.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Sequence
from importlib import resources
from itertools import takewhile
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
from spikereach.reporting.view.loop import Looped, in_loop
from spikereach.reporting.view.packing import packed, packed_spikes

PROGRAM = ("tools.js", "test_part.js", "loop.js", "page.js")
"""One program, in this order."""


def write(
    results: Sequence[str | Path],
    out: str | Path,
    *,
    start_s: float,
    seconds: float,
    play: Callable[[Path], Looped] | None = None,
) -> str:
    """Write the page of some results, whole or not at all.

    Args:
        results: folders ``results/evaluate/SYSTEM/SESSION/seedN`` of one session, in the order
            in which they shall stand on the page.
        out: the HTML file.
        start_s: start of the stretch shown, in seconds after the start of the test part.
        seconds: its length; shortened where the test part ends.
        play: gives the decoder of a result folder in the loop, each on the same targets; None: the
            page has no loop.
    Returns:
        what the page shows, in words.
    Raises:
        ResultError: a file is missing or damaged, a result is given twice, the results are not
            of one session, or the stretch begins after the end of the test part.
    """
    folders = list(map(Path, results))
    about, decoded = zip(*map(_read, folders), strict=True)
    _check(folders, decoded)
    here = predictions.stretch(decoded, start_s, seconds, shorten=True)
    labels = _labels(folders, decoded)
    content = _content(about, decoded, labels, here)
    if play is not None:
        content["loop"] = in_loop([play(folder) for folder in folders])
    files.replace(out, _page(content).encode())
    length = (here.stop - here.start) * decoded[0].dt_s
    return f"{'; '.join(labels)} on {decoded[0].session}, {length:g} s of the test part"


def _read(folder: Path) -> tuple[dict[str, Any], Predictions]:
    """The row of `collect` of a result folder, and what was decoded."""
    about = collect([folder / "metrics.json", folder / "realtime.json"]).iloc[0].to_dict()
    decoded = predictions.read(folder / "predictions.h5")
    for key in KEY:
        if getattr(decoded, key) != about[key]:
            raise ResultError(
                f"{folder}: predictions.h5 is of {key} {getattr(decoded, key)}, metrics.json of "
                f"{about[key]}; evaluate this system again"
            )
    return about, decoded


def _check(folders: list[Path], decoded: Sequence[Predictions]) -> None:
    """All of one session, and each once."""
    first = decoded[0]
    seen: dict[Path, Path] = {}
    for folder, one in zip(folders, decoded, strict=True):
        if one.session != first.session:
            raise ResultError(
                f"{folder} is of session {one.session}, {folders[0]} of {first.session}: give "
                "results of one session"
            )
        steps = min(len(one.velocity), len(first.velocity))
        same = (one.first_step, one.dt_s) == (first.first_step, first.dt_s)
        if not same or not np.array_equal(one.position[:steps], first.position[:steps]):
            raise ResultError(
                f"{folder} and {folders[0]} were evaluated on different recordings "
                f"named {one.session}: evaluate both again"
            )
        if seen.setdefault(folder.resolve(), folder) is not folder:
            raise ResultError(f"one result is given twice: {seen[folder.resolve()]}, {folder}")


def _labels(folders: Sequence[Path], decoded: Sequence[Predictions]) -> list[str]:
    """How each is called on the page: by its system; of several of one system also by the seed,
    and where seeds do not tell them apart, by what is different in their paths (two runs)."""
    labels = [one.system for one in decoded]
    for system in set(labels):
        alike = [number for number, one in enumerate(decoded) if one.system == system]
        seeds = [decoded[number].seed for number in alike]
        paths = [
            folders[number].parent if folders[number].name == f"seed{seed}" else folders[number]
            for number, seed in zip(alike, seeds, strict=True)
        ]
        for number, seed, path in zip(alike, seeds, _apart(paths), strict=True):
            labels[number] += f", seed {seed}" if len(set(seeds)) > 1 else ""
            labels[number] += f", {path}" if len(set(seeds)) < len(seeds) else ""
    return labels


def _apart(paths: Sequence[Path]) -> list[str]:
    """Each path without what all share at the beginning and at the end, but for one part."""
    parts = [path.absolute().parts for path in paths]
    end = _shared([each[::-1] for each in parts])
    begin = min(_shared(parts), min(map(len, parts)) - end - 1)
    return ["/".join(each[begin : len(each) - end]) for each in parts]


def _shared(parts: Sequence[tuple[str, ...]]) -> int:
    """How many of the first parts are the same in all."""
    return sum(1 for _ in takewhile(lambda at: len(set(at)) == 1, zip(*parts, strict=False)))


def _content(
    about: Sequence[dict[str, Any]],
    decoded: Sequence[Predictions],
    labels: Sequence[str],
    here: slice,
) -> dict[str, Any]:
    """Everything that the page shows, as JSON-like values."""
    first = decoded[0]
    # Systems read different cortex areas; those that read all of them show the most.
    raster = max(decoded, key=lambda one: one.spikes.shape[1])
    source = sources.named(about[0]["source"])
    return {
        "session": first.session,
        "monkey": about[0]["monkey"],
        "source": source.name,
        "real": source.real,
        "unit": source.unit,
        "dt": first.dt_s,
        "start": here.start * first.dt_s,
        "steps": here.stop - here.start,
        "test": len(first.predicted) * first.dt_s,
        **packed_spikes(raster.spikes[here]),
        "position": packed(first.position[here]),
        "velocity": packed(first.velocity[here] / first.dt_s),
        "true": TRUE,
        "systems": [
            measured  # under the names of `evaluation.records`
            | {
                "label": label,
                "colour": colour(one.system),
                "channels": one.spikes.shape[1],
                "velocity": packed(one.predicted[here] / first.dt_s),
            }
            for measured, one, label in zip(about, decoded, labels, strict=True)
        ],
    }


def _page(content: dict[str, Any]) -> str:
    folder = resources.files(__package__)
    style = folder.joinpath("page.css").read_text("utf-8")
    program = "\n".join(folder.joinpath(name).read_text("utf-8") for name in PROGRAM)
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
