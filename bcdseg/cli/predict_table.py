"""The table that ``bcdseg predict`` prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bcdseg.terminal import make_console, printable_name


def print_table(rows: list[dict[str, Any]], out: Path | None) -> None:
    """A line a scan, and where the files are."""
    from rich.markup import escape
    from rich.table import Table

    console = make_console(width=None if sys.stdout.isatty() else 120)
    table = Table("scan", "class", "probability", "lesions", "largest", "flags", box=None, pad_edge=False)
    for row in rows:
        if row.get("error"):
            table.add_row(_name(row), "failed", "", "", "", "")
        else:
            lesions, label = str(row.get("lesions", "")), escape(row["label"])
            table.add_row(_name(row), label, _probability(row), lesions, _size(row), row["flags"])
    console.print(table)
    if out:
        written = f"\nWritten to {out}/; the tables are predictions.csv and predictions.json there"
        console.print(written, highlight=False, markup=False)


def _name(row: dict[str, Any]) -> str:
    from rich.markup import escape

    return escape(printable_name(Path(row["source"]).name))


def _probability(row: dict[str, Any]) -> str:
    if not row["label"]:
        return ""
    spread = f" ± {row['spread']:.0%}" if "spread" in row else ""
    return f"{row['probability_' + row['label']]:.0%}{spread}"


def _size(row: dict[str, Any]) -> str:
    unit = "mm" if "long_axis_mm" in row else "px"
    if f"long_axis_{unit}" not in row:
        return ""
    digits = 1 if unit == "mm" else 0
    return f"{row[f'long_axis_{unit}']:.{digits}f} x {row[f'short_axis_{unit}']:.{digits}f} {unit}"
