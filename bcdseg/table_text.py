"""Tables as CSV for spreadsheet programs and as HTML for notebooks: foreign text in a cell is shown and never run.

In CSV a text cell that starts with ``=``, ``+``, ``-``, ``@`` (also in full width), a tab or a line break gets an apostrophe in
front, as OWASP advises; a cell that is a plain number does not. ``read_csv`` removes the apostrophe, so that a table is read
unchanged. A text that starts with such an apostrophe itself gets another one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

CELL_STYLE = "text-align:left;padding:2px 12px 2px 0"
FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-](\d+(\.\d*)?([eE][+-]?\d+)?|inf|nan)")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV with lines that end in a line feed.

    Args:
        columns: Names of the columns.
        rows: Cells in the order of the columns; None is an empty cell.
    """
    return "".join(map(_line, (columns, *rows)))


def read_csv(text: str, delimiter: str = ",", *, strip: bool = False) -> list[dict[Any, Any]]:
    """Return the rows of a table by column, without the apostrophes of ``csv_text`` and with None for missing cells.

    Args:
        text: The table.
        delimiter: Delimiter of the cells.
        strip: Whether to remove white space around a cell, before the apostrophe is removed.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [{name: _original(cell, strip) for name, cell in row.items()} for row in rows]


def html_table(title: str, rows: Iterable[Sequence[object]], header: Sequence[object] = ()) -> str:
    """Return a table with a title as HTML, with all texts escaped.

    Args:
        title: Text above the table.
        rows: Rows of cells.
        header: Names of the columns, if they have names.
    """
    lines = [_row("th", header)] if header else []
    lines += [_row("td", row) for row in rows]
    return f"<div><b>{escape(title)}</b><table>{''.join(lines)}</table></div>"


def _line(cells: Sequence[Any]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow([_safe(cell) for cell in cells])  # with \r\n as line end every Python quotes cells with either
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _safe(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def _original(cell: Any, strip: bool) -> Any:
    if not isinstance(cell, str):
        return cell
    cell = cell.strip() if strip else cell
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f'<{tag} style="{CELL_STYLE}">{escape(str(cell))}</{tag}>' for cell in cells) + "</tr>"
