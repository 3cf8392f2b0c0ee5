"""Small HTML tables in which notebooks show the library's objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

CELL = "text-align:left;padding:2px 12px 2px 0"


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


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f'<{tag} style="{CELL}">{escape(str(cell))}</{tag}>' for cell in cells) + "</tr>"
