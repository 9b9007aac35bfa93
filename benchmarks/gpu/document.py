"""Writes the budget that `make gpu` measured into docs/budget.md.

    python benchmarks/gpu/document.py gpu.json

for a file that comes from the machine with the GPU.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "budget.md"
BEGIN, END = "<!-- make gpu: begin -->", "<!-- make gpu: end -->"
HEAD = ("system", "training", "channels", "ms per update", "minutes per run", "runs", "hours")


class DocumentError(Exception):
    """Nothing was written: says why."""


def write(path: Path, document: Path = DOCUMENT) -> None:
    """Put the table between the document's two markers.

    Raises:
        DocumentError: the figures are not of a GPU or not of all systems, or there are no markers.
    """
    found = json.loads(path.read_bytes())
    if found["device_kind"] != "cuda":
        raise DocumentError(f"{path}: not measured on a GPU: run make gpu on one")
    checks = [check for check in found["checks"] if check["group"] == "budget"]
    absent = [check["name"] for check in checks if not check.get("figures")]
    if absent or not checks:
        raise DocumentError(f"{path}: no figures for {', '.join(absent) or 'any system'}")
    before, begin, rest = document.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DocumentError(f"{document}: has no lines {BEGIN} and {END}")
    rows = [row for check in checks for row in check["figures"].get("rows", ())]
    about = f"Upper limit on one {found['device']}, PyTorch {found['torch']}:"
    total = f"{sum(row['hours'] for row in rows):.1f} hours in all."
    text = "\n\n".join([BEGIN, about, table(rows), total, END])
    temporary = document.with_name(f".{document.name}.tmp")
    temporary.write_text(before + text + after, encoding="utf-8")
    temporary.replace(document)


def table(rows: Sequence[dict]) -> str:
    """The trainings of each system as Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        hours, runs = row["hours"], row["runs"]
        shown = f"{row['channels']} | {row['update_ms']:.1f} | {60 * hours / runs:.1f} | {runs}"
        lines.append(f"| {row['system']} | {row['training']} | {shown} | {hours:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]))
    except DocumentError as error:
        sys.exit(f"error: {error}")
