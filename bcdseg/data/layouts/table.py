"""The layout with a table of files in CSV, Excel or Parquet format."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from bcdseg.csv_text import csv_text, read_csv
from bcdseg.data.layouts.listing import PARTS, FolderListing, Listing
from bcdseg.errors import DatasetError
from bcdseg.extras import require
from bcdseg.files import write_whole
from bcdseg.types import Sample, Spacing

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """Read all rows, with white space around cells removed and ``""`` for empty cells."""
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    if path.suffix.lower() == ".xlsx":
        return _excel(path)
    text = _text(path)
    rows = read_csv(text, _delimiter(text), strip=True)
    return [{name.strip().lower(): cell or "" for name, cell in row.items() if isinstance(name, str)} for row in rows]


def csv_rows(path: Path) -> list[dict[Any, Any]]:
    """Read all rows of a CSV file, with None for missing cells and without the apostrophe in front of formulas."""
    text = _text(path)
    return read_csv(text, _delimiter(text))


def columns(path: Path) -> set[str]:
    """Return the column names of a CSV file in lower case, and none for other formats, which would have to be read as a whole."""
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
    """Return the most frequent delimiter of the header, since cells of other rows may contain several masks."""
    header = (text.splitlines() or [""])[0]
    return max(",;\t", key=header.count)


def _row(cells: dict[Any, Any]) -> Row:
    return {str(name).strip().lower(): _cell(value) for name, value in cells.items() if isinstance(name, str)}


def _cell(value: Any) -> str:
    """Return the text of a cell; a whole number that a spreadsheet stores as 7.0 becomes 7."""
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


COLUMNS = ("id", "image", "mask", "label", "group", "split", "spacing")
BETWEEN = ";"


def recognise(listing: Listing) -> bool:
    """Return whether the user named a table, or the folder itself contains a single one, with a column ``image``."""
    path = _table(listing)
    return path is not None and (path.suffix.lower() == ".parquet" or "image" in columns(path))


def read(listing: Listing) -> FolderListing:
    """Read one sample per row; relative paths start at the table's folder."""
    path = _table(listing)
    if path is None:
        raise DatasetError(f"{listing.root}: has no table, or several. Give the path of the table itself.")
    rows = read_rows(path)
    if not rows or "image" not in rows[0]:
        have = ", ".join(rows[0]) if rows else "no rows"
        raise DatasetError(f"{path}: needs a column 'image' (it has: {have}). Other columns that are read: {', '.join(COLUMNS)}.")
    found = FolderListing()
    rows_of: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        sample, problems = _sample(row, listing.root)
        if not problems and rows_of.setdefault(sample.id, number) != number:
            problems = [f"{sample.id}: is in row {rows_of[sample.id]} already"]
        if problems:
            found.problems += [f"{path.name} row {number}: {problem}" for problem in problems]
        else:
            found.samples.append(sample)
    return found


def write(samples: Iterable[Sample], path: str | PathLike[str], *, overwrite: bool) -> None:
    """Write samples as a table, atomically."""
    path = Path(path)
    start = path.parent.resolve()

    def relative(file: Path) -> str:
        try:
            return Path(os.path.relpath(file.resolve(), start)).as_posix()
        except ValueError:  # the file is on another drive
            return file.resolve().as_posix()

    rows: list[list[str | None]] = []
    for sample in samples:
        masks = BETWEEN.join(map(relative, sample.masks))
        spacing = BETWEEN.join(map(repr, sample.spacing or ()))
        rows.append([sample.id, relative(sample.image), masks, sample.label, sample.group, sample.part, spacing])
    write_whole(path, csv_text(COLUMNS, rows).encode(), overwrite=overwrite, durable=True)


def _table(listing: Listing) -> Path | None:
    if listing.table:
        return listing.table
    top = [name for name in listing.tables if "/" not in name]
    return listing.path(top[0]) if len(top) == 1 else None


def _sample(row: Row, root: Path) -> tuple[Sample, list[str]]:
    name = row["image"].replace("\\", "/")
    image = root / name
    masks = tuple(root / cell.strip().replace("\\", "/") for cell in row.get("mask", "").split(BETWEEN) if cell.strip())
    problems = [f"{path}: {wrong}" for path in (image, *masks) if (wrong := _wrong(path))] if name else ["names no image"]
    spacing, part = _spacing(row.get("spacing", "")), row.get("split", "")
    if spacing == ():
        problems.append(f"spacing {row['spacing']!r} is no positive number (mm per pixel), nor two with {BETWEEN!r} between")
    if part and part.lower() not in PARTS:
        problems.append(f"split {part!r} is none of {', '.join(PARTS)}")
    return Sample(
        id=row.get("id") or name,
        image=image,
        masks=masks,
        label=row.get("label") or None,
        group=row.get("group") or row.get("patient") or None,
        part=PARTS.get(part.lower()),
        spacing=spacing or None,
    ), problems


def _wrong(path: Path) -> str:
    try:
        return "" if path.stat().st_size else "the file is empty"
    except OSError:
        return "no such file"


def _spacing(cell: str) -> Spacing | tuple[()] | None:
    """Return the spacing down and across, None for an empty cell, or ``()`` for an invalid one."""
    if not cell:
        return None
    try:
        numbers = [float(number) for number in cell.replace("x", BETWEEN).split(BETWEEN)]
    except ValueError:
        return ()
    if len(numbers) > 2 or not all(0 < number < float("inf") for number in numbers):
        return ()
    return numbers[0], numbers[-1]
