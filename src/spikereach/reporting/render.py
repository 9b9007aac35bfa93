"""Tables as files: LaTeX (booktabs), CSV (full precision) and Markdown, repeatable to the byte."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import pandas as pd

MISSING = "–"
"""Printed where there is no figure; an en dash, ``--`` in LaTeX."""


@dataclass(frozen=True)
class Column:
    """One printed column: cells are text, in Unicode, escaped only on writing."""

    heading: str
    cells: list[str]
    group: str = ""
    align: Literal["l", "c", "r"] = "r"


@dataclass(frozen=True)
class Table:
    """A table: ``values`` for machines, ``columns`` for readers."""

    name: str
    caption: str
    comment: tuple[str, ...]
    values: pd.DataFrame
    columns: list[Column]


def write(table: Table, folder: str | Path) -> None:
    """Write ``folder/name.tex``, ``.csv`` and ``.md``, each replaced in one step."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".tex", tex(table)), (".csv", csv(table)), (".md", markdown(table))):
        write_text(folder / f"{table.name}{suffix}", text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to a temporary name beside ``path``, then rename it into place."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "²": r"$^2$",
    "µ": r"$\mu$",
    "–": "--",
    "\u2003": r"\quad{}",
}


def escape(text: str) -> str:
    """Plain text as LaTeX, so that any name prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def _number(text: str) -> str:
    """A cell as LaTeX: ``a ± b`` as one formula with thin spaces."""
    return escape(text).replace(r" $\pm$ ", r"\,$\pm$\,")


def tex(table: Table) -> str:
    """A floating table for ``\\input``; needs only the package booktabs."""
    columns = table.columns
    size, gap = _fit(columns)
    lines = [f"% {line}" for line in table.comment]
    lines += [
        r"\begin{table*}[htbp]",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\vspace{4pt}",
        rf"\{size}",
        rf"\setlength{{\tabcolsep}}{{{gap}pt}}",
        rf"\begin{{tabular}}{{@{{}}{''.join(column.align for column in columns)}@{{}}}}",
        r"\toprule",
    ]
    if any(column.group for column in columns):
        cells, rules, start = [], [], 1
        for group, members in _groups(columns):
            end = start + len(members) - 1
            if group:
                cells.append(rf"\multicolumn{{{len(members)}}}{{c}}{{{escape(group)}}}")
                rules.append(rf"\cmidrule(lr){{{start}-{end}}}")
            else:
                cells.append(" & " * (len(members) - 1))
            start = end + 1
        lines += [_row(cells), " ".join(rules)]
    lines += [_row(_heading(column) for column in columns), r"\midrule"]
    lines += [_row(map(_number, row)) for row in zip(*(c.cells for c in columns), strict=True)]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _fit(columns: list[Column]) -> tuple[str, float]:
    """Type size and half the gap between columns (pt) that fit the text of an A4 page."""
    characters = sum(max(map(len, [column.heading, *column.cells])) for column in columns)
    if characters + 2 * len(columns) > 110:
        return "scriptsize", 2.5
    return ("small" if characters + 2 * len(columns) < 85 else "footnotesize"), 3.5


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _heading(column: Column) -> str:
    if column.align == "r":  # centred over its numbers
        return rf"\multicolumn{{1}}{{c}}{{{escape(column.heading)}}}"
    return escape(column.heading)


def _groups(columns: list[Column]) -> list[tuple[str, list[Column]]]:
    return [(group, list(members)) for group, members in groupby(columns, lambda c: c.group)]


def csv(table: Table) -> str:
    """Machine-readable: full precision, an empty field where there is no figure."""
    return table.values.to_csv(index=False, lineterminator="\n")


def markdown(table: Table) -> str:
    """For reading: the printed cells with the caption above."""

    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    headings = (f"{column.group} {column.heading}".strip() for column in table.columns)
    rules = ({"l": ":--", "c": ":-:", "r": "--:"}[column.align] for column in table.columns)
    lines = [table.caption, "", row(headings), row(rules)]
    lines += [row(cells) for cells in zip(*(c.cells for c in table.columns), strict=True)]
    return "\n".join(lines) + "\n"


def document(names: Iterable[str]) -> str:
    """A LaTeX document, beside the tables in one folder, that prints all of them."""
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
    lines += [rf"\input{{{name}.tex}}" for name in names]
    lines += [r"\end{document}"]
    return "\n".join(lines) + "\n"
