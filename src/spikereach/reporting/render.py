"""Tables as files: LaTeX (booktabs), full-precision CSV, Markdown, HTML; equal to the byte."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape as quote
from itertools import groupby
from typing import Literal

import pandas as pd

MISSING = "–"
"""Printed where there is no figure; an en dash, ``--`` in LaTeX."""


Align = Literal["l", "c", "r"]


@dataclass(frozen=True)
class Column:
    """One printed column: cells are text, in Unicode, escaped only on writing."""

    heading: str
    cells: list[str]
    group: str = ""
    align: Align = "r"


@dataclass(frozen=True)
class Table:
    """A table: ``values`` for machines, ``columns`` for readers.

    Where the columns do not fit a page, the printed table goes on below itself with its first
    ``stub`` columns once more. ``notes`` are paragraphs that stand under it.
    """

    name: str
    caption: str
    comment: tuple[str, ...]
    values: pd.DataFrame
    columns: list[Column]
    stub: int = 1
    notes: tuple[str, ...] = ()

    def files(self) -> dict[str, bytes]:
        """Suffix -> content."""
        forms = {".tex": tex, ".csv": csv, ".md": markdown, ".html": html}
        return {suffix: form(self).encode() for suffix, form in forms.items()}


def _frame(
    columns: list[Column], form: Callable[[str], str], headings: list[str], groups: list[str]
) -> pd.DataFrame:
    """The printed cells, in this form, below their headings and the groups of these."""
    frame = pd.DataFrame({n: list(map(form, c.cells)) for n, c in enumerate(columns)}, dtype=object)
    frame.columns = pd.MultiIndex.from_arrays([groups, headings]) if any(groups) else headings
    return frame


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
            _tabular(columns),
            r"\end{table*}",
        ]
    if table.notes:  # under the last piece
        text = "\\par\\vspace{2pt}\n".join(map(escape, table.notes))
        below = rf"\parbox{{\textwidth}}{{\footnotesize\raggedright {text}}}"
        lines[-1:] = [r"\par\vspace{4pt}", below, lines[-1]]
    return "\n".join(lines) + "\n"


def _tabular(columns: list[Column]) -> str:
    """With Styler; the rules below groups, which it does not draw, go before the first heading."""
    headings = [
        _centred(column.heading) if column.align == "r" else escape(column.heading)
        for column in columns
    ]
    groups, rules = [], []
    for group, members in _groups(columns):
        if group:
            rules.append(rf"\cmidrule(lr){{{len(groups) + 1}-{len(groups) + len(members)}}}")
        alone = group and len(members) == 1  # Styler centres those over several columns
        groups += [_centred(group) if alone else escape(group)] * len(members)
    if rules:
        headings[0] = "\n".join([" ".join(rules), headings[0]])
    aligned = "".join(column.align for column in columns)
    styler = _frame(columns, _number, headings, groups).style.hide(axis="index")
    text = styler.to_latex(hrules=True, column_format=f"@{{}}{aligned}@{{}}", multicol_align="c")
    return text.rstrip()


def _centred(text: str) -> str:
    return rf"\multicolumn{{1}}{{c}}{{{escape(text)}}}"


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
        longer = pieces[-1] + members
        if len(pieces[-1]) > stub and _width(longer, digit, gap) > _TEXT_WIDTH:
            longer = first + members
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


def _groups(columns: list[Column]) -> list[tuple[str, list[Column]]]:
    """Columns of one group; one without a group stands for itself."""
    parts = [list(part) for _, part in groupby(columns, lambda column: column.group or id(column))]
    return [(part[0].group, part) for part in parts]


def csv(table: Table) -> str:
    """Machine-readable: full precision, an empty field where there is no figure."""
    return table.values.to_csv(index=False, lineterminator="\n")


def markdown(table: Table) -> str:
    """For reading: the printed cells with the caption above."""
    headings = [f"{column.group} {column.heading}".strip() for column in table.columns]
    aligned = [_ALIGNED[column.align] for column in table.columns]
    frame = pd.DataFrame(dict(enumerate(column.cells for column in table.columns)))
    frame.columns = headings
    text = frame.replace(r"([|<])", r"\\\1", regex=True).to_markdown(
        index=False,
        disable_numparse=True,
        preserve_whitespace=True,
        colalign=aligned if len(frame) else None,  # tabulate fails on it without rows
    )
    return "\n\n".join([table.caption, text, *table.notes]) + "\n"


_ALIGNED = {"l": "left", "c": "center", "r": "right"}


def html(table: Table) -> str:
    """A page with the printed cells, for the workflow's report."""
    headings = [quote(column.heading) for column in table.columns]
    groups = [quote(column.group) for column in table.columns]
    styler = _frame(table.columns, quote, headings, groups).style.hide(axis="index")
    aligned = "".join(
        f"tr:last-child > th:nth-child({n}), td:nth-child({n}) "
        f"{{ text-align: {_ALIGNED[column.align]}; }}\n"
        for n, column in enumerate(table.columns, start=1)
    )
    body = f"<p>{quote(table.caption)}</p>\n<style>{aligned}</style>\n"
    notes = "".join(f"<p>{quote(note)}</p>\n" for note in table.notes)
    return page(table.name, body + styler.to_html(exclude_styles=True) + notes)


_STYLE = """
body { font: 13px/1.45 system-ui, "Segoe UI", Arial, sans-serif; color: #1a1f26;
  background: #fff; margin: 24px; font-variant-numeric: tabular-nums; }
p { max-width: min(80em, 100vw - 48px); position: sticky; left: 24px; color: #3c4652; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }
th, td { padding: 4px 7px; white-space: nowrap; }
thead tr:last-child th { border-bottom: 1px solid; }
th { font-weight: 600; text-align: center; }
thead tr:not(:last-child) th:not(:empty) { border-bottom: 1px solid #9aa5b1; }
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
