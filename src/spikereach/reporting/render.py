"""Tables as files: LaTeX (booktabs), full-precision CSV, Markdown, HTML; equal to the byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape as quote
from itertools import groupby
from pathlib import Path
from typing import Literal

import pandas as pd

from spikereach import files

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
    """A table: ``values`` for machines, ``columns`` for readers.

    Where the columns do not fit a page, the printed table goes on below itself with its first
    ``stub`` columns once more.
    """

    name: str
    caption: str
    comment: tuple[str, ...]
    values: pd.DataFrame
    columns: list[Column]
    stub: int = 1


def write(table: Table, folder: str | Path) -> None:
    """Write ``folder/name.tex``, ``.csv``, ``.md`` and ``.html``, each replaced in one step."""
    folder = Path(folder)
    for kind, form in (("tex", tex), ("csv", csv), ("md", markdown), ("html", html)):
        write_text(folder / f"{table.name}.{kind}", form(table))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, the file whole or not at all.

    Raises:
        OSError: naming ``path``.
    """
    files.replace(path, text.encode())


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
    """A floating table for ``\\input``, or several that go on; needs only the package booktabs."""
    pieces, size, gap = _fit(table.columns, table.stub)
    lines = [f"% {line}" for line in table.comment]
    for number, columns in enumerate(pieces):
        heading = [rf"\caption{{{escape(table.caption)}}}", rf"\label{{tab:{table.name}}}"]
        if number:
            heading = [rf"Table~\ref{{tab:{table.name}}}, continued\par"]
        lines += [
            r"\begin{table*}[htbp]",
            r"\centering",
            *heading,
            r"\vspace{4pt}",
            rf"\{size}",
            rf"\setlength{{\tabcolsep}}{{{gap}pt}}",
            *_tabular(columns),
            r"\end{table*}",
        ]
    return "\n".join(lines) + "\n"


def _tabular(columns: list[Column]) -> list[str]:
    lines = [
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
    return [*lines, r"\bottomrule", r"\end{tabular}"]


_TEXT_WIDTH = 483.0
"""Width in pt of the text of :func:`document`: 170 mm."""

_SIZES = (("small", 4.63, 3.5), ("footnotesize", 4.25, 3.5), ("scriptsize", 3.98, 2.0))
"""Type sizes: their name, the width of a digit and half the gap between columns in pt."""


def _fit(columns: list[Column], stub: int) -> tuple[list[list[Column]], str, float]:
    """The largest type in which the columns fit, or as few pieces in the smallest as do.

    Groups stay together; each piece begins with the first ``stub`` columns.
    """
    for size, digit, gap in _SIZES:
        if _width(columns, digit, gap) <= _TEXT_WIDTH:
            return [columns], size, gap
    first = columns[:stub]
    pieces = [first]
    for _, members in _groups(columns[stub:]):
        # columns without a group may part anywhere
        for added in [members] if members[0].group else [[member] for member in members]:
            longer = pieces[-1] + added
            if len(pieces[-1]) > stub and _width(longer, digit, gap) > _TEXT_WIDTH:
                longer = first + added
                pieces.append(longer)
            pieces[-1] = longer
    return pieces, size, gap


def _width(columns: list[Column], digit: float, gap: float) -> float:
    """Estimated width in pt; a group's heading may be wider than its columns."""
    total = 0.0
    for group, members in _groups(columns):
        inside = sum(max(map(_digits, [c.heading, *c.cells])) * digit + 2 * gap for c in members)
        total += max(inside, _digits(group) * digit + 2 * gap) if group else inside
    return total - 2 * gap


_WIDTHS = {character: 0.57 for character in " .,:;'|()[]fijltI"}
_WIDTHS |= {character: 1.56 for character in "−×+<>=≤≥&%mwMW"} | {"\u2003": 2.0}


def _digits(text: str) -> float:
    """Width of a text in digits of the same type, a little generous."""
    # " ± " is printed with thin spaces
    return sum(
        _WIDTHS.get(character, 1.4 if character.isupper() else 1.03)
        for character in text.replace(" ± ", "00")
    )


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


def html(table: Table) -> str:
    """A page with the printed cells, for the workflow's report."""
    columns, groups = table.columns, _groups(table.columns)
    lines = [f"<p>{quote(table.caption)}</p>", "<table>", "<thead>"]
    if any(group for group, _ in groups):
        cells = [_cell("th", group, "group" * bool(group), len(cols)) for group, cols in groups]
        lines.append(_line(cells))
    lines.append(_line(_cell("th", column.heading, column.align) for column in columns))
    lines += ["</thead>", "<tbody>"]
    for row in zip(*(column.cells for column in columns), strict=True):
        cells = zip(row, columns, strict=True)
        lines.append(_line(_cell("td", text, column.align) for text, column in cells))
    lines += ["</tbody>", "</table>"]
    return page(table.name, "\n".join(lines))


def _cell(tag: str, text: str, kind: str, span: int = 1) -> str:
    return f'<{tag} class="{kind}" colspan="{span}">{quote(text)}</{tag}>'


def _line(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


_STYLE = """
body { font: 13px/1.45 system-ui, "Segoe UI", Arial, sans-serif; color: #1a1f26;
  background: #fff; margin: 24px; font-variant-numeric: tabular-nums; }
p { max-width: min(80em, 100vw - 48px); position: sticky; left: 24px; color: #3c4652; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }
th, td { padding: 4px 7px; white-space: nowrap; }
thead tr:last-child th { border-bottom: 1px solid; }
th { font-weight: 600; text-align: center; }
th.group { border-bottom: 1px solid #9aa5b1; }
.l { text-align: left; } .c { text-align: center; } .r { text-align: right; }
tbody tr:nth-child(even) { background: #f4f6f8; }
pre { font: 13px/1.45 ui-monospace, Consolas, monospace; }
"""


def page(title: str, body: str) -> str:
    """An HTML page around ``body`` that needs nothing else."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{quote(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def document(names: Iterable[str], where_made: Iterable[str] = ()) -> str:
    """A LaTeX document, beside the tables in one folder, that prints all of them.

    Args:
        names: tables that are there.
        where_made: tables that are printed if they are there when the document is compiled.
    """
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
    lines += [rf"\IfFileExists{{{name}.tex}}{{\input{{{name}.tex}}}}{{}}" for name in where_made]
    lines += [r"\end{document}"]
    return "\n".join(lines) + "\n"
