"""Rows of a table: CSV, Excel or Parquet, as text by lower-case column."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from bcdseg.csv_text import read_csv
from bcdseg.errors import DatasetError
from bcdseg.extras import require

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """All rows; cells are stripped, an empty cell is ``""``."""
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    if path.suffix.lower() == ".xlsx":
        return _excel(path)
    text = _text(path)
    rows = read_csv(text, _delimiter(text), strip=True)
    return [{name.strip().lower(): cell or "" for name, cell in row.items() if isinstance(name, str)} for row in rows]


def csv_rows(path: Path) -> list[dict[Any, Any]]:
    """All rows of a CSV file; a cell that its row lacks is None. An apostrophe in front of what would be a formula is removed."""
    text = _text(path)
    return read_csv(text, _delimiter(text))


def columns(path: Path) -> set[str]:
    """The names of the columns of a CSV file, in lower case; none of any other file, which would have to be read for it."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return set()
    with path.open("rb") as file:
        header = file.readline(65536).decode("utf-8-sig", "replace")
    return {cell.strip().lower() for cell in next(csv.reader([header], delimiter=_delimiter(header)), [])}


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is no UTF-8 text. Save the table as CSV in UTF-8.") from None


def _delimiter(text: str) -> str:
    """Told by the header, where several masks in one cell can't be taken for it."""
    header = (text.splitlines() or [""])[0]
    return max(",;\t", key=header.count)


def _row(cells: dict[Any, Any]) -> Row:
    return {str(name).strip().lower(): _cell(value) for name, value in cells.items() if isinstance(name, str)}


def _cell(value: Any) -> str:
    """Text of a cell; a whole number that a spreadsheet holds as 7.0 is 7."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _parquet(path: Path) -> list[Row]:
    table = require("pyarrow.parquet", extra="tables", purpose=f"Reading {path.name}").read_table(path)
    return [_row(row) for row in table.to_pylist()]


def _excel(path: Path) -> list[Row]:
    openpyxl = require("openpyxl", extra="tables", purpose=f"Reading {path.name}")
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        header, *rows = book.worksheets[0].iter_rows(values_only=True)
        return [_row(dict(zip(header, row, strict=False))) for row in rows]
    finally:
        book.close()
