"""The layout with a table of files in CSV, Excel or Parquet format, and tables in memory."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from os import PathLike
from pathlib import Path
from typing import Any

from bcdseg.data.layouts.file_index import FileIndex
from bcdseg.data.layouts.listing import PARTS, FolderListing, Listing
from bcdseg.data.tables.arrays import ArrayFiles, store_arrays
from bcdseg.data.tables.columns import FACTS, OWN_FACT, Columns, describe, has_image_column, match_columns
from bcdseg.data.tables.facts import is_unknown, read_facts
from bcdseg.data.tables.files import Row, Table, cell_text, column_names, csv_rows, is_missing, read_rows, read_table
from bcdseg.errors import DatasetError, DataWarning
from bcdseg.files import write_whole
from bcdseg.messages import name_some, warn_caller
from bcdseg.table_text import csv_text
from bcdseg.types import SPACING_RANGE, LesionMask, Sample, Spacing

__all__ = ["COLUMNS", "csv_rows", "read", "read_rows", "read_samples", "recognise", "table_of", "write"]

COLUMNS = ("id", "image", "mask", "label", "group", "split", "spacing")
BETWEEN = ";"
MAY_BE_UNKNOWN = ("mask", "label", "group", "split", "spacing")
WHOLE = re.compile(r"(\d+)\.0+")  # as pandas writes a column of numbers with some unknown ones


def recognise(listing: Listing) -> bool:
    """Return whether the user named a table, or the folder itself contains a single one with a column of images."""
    path = _table(listing)
    if path is None or listing.table:
        return path is not None
    return path.suffix.lower() == ".parquet" or has_image_column(column_names(path))


def read(listing: Listing) -> FolderListing:
    """Read one sample per row; relative paths start at the table's folder."""
    path = _table(listing)
    if path is None:
        raise DatasetError(f"{listing.root}: has no table, or several. Give the path of the table itself.")
    table = read_table(path)
    if path.suffix.lower() == ".parquet":  # the only format of tables that may contain images
        table = store_arrays(table, listing.columns, ArrayFiles(listing.columns))
    return read_samples(table, listing)


def read_samples(table: Table, listing: Listing) -> FolderListing:
    """Read one sample per row of a table.

    A file may be named without its folders, if its name is unique below the data set's folder. If the table has no column of
    masks, those in folders next to the images are taken, paired by their names.

    Raises:
        DatasetError: The table has no column of images; the message lists its columns and what each is read as.
    """
    columns = match_columns(table.columns, listing.columns, table.name)
    if "image" not in columns.fields:
        raise DatasetError(
            f"{table.name}: has no column of image files. Its columns: {describe(table.columns, columns)}. "
            "Name the column: columns={'image': '...'}."
        )
    if columns.unused:
        example = columns.unused[0]
        warn_caller(
            f"{table.name}: columns that aren't used: {', '.join(columns.unused)}. To use one, name it: "
            f"columns={{'label': {example!r}}}, or columns={{'{OWN_FACT}{example}': {example!r}}} for a fact.",
            DataWarning,
        )
    facts = read_facts(table.rows, columns.facts, table.name, table.first_row)
    unknown = _unknown_cells(table, columns, listing.labels)
    files, found = FileIndex(listing), FolderListing()
    rows_of: dict[str, int] = {}
    for number, (row, own) in enumerate(zip(table.rows, facts, strict=True), start=table.first_row):
        if not any(map(cell_text, row.values())):  # as spreadsheets write below their last row
            continue
        sample, problems = _sample(_Cells(row, columns, unknown), own, number, files)
        if not problems and rows_of.setdefault(sample.id, number) != number:
            problems = [f"{sample.id}: is in row {rows_of[sample.id]} already"]
        if problems:
            found.problems += [f"{Path(table.name).name} row {number}: {problem}" for problem in problems]
        else:
            found.samples.append(sample)
    return found


def write(samples: Iterable[Sample], path: str | PathLike[str], *, overwrite: bool) -> None:
    """Write samples as a table, atomically."""
    path, samples = Path(path), list(samples)
    if problem := without_masks(samples):
        raise DatasetError(f"{path}: {problem}")
    start = path.parent.resolve()

    def relative(file: Path) -> str:
        try:
            return Path(os.path.relpath(file.resolve(), start)).as_posix()
        except ValueError:  # the file is on another drive
            return file.resolve().as_posix()

    header, rows = table_of(samples, relative)
    write_whole(path, csv_text(header, rows).encode(), overwrite=overwrite, durable=True)


def without_masks(samples: Iterable[Sample]) -> str:
    """Return which masks a table can't name, because they are in annotation files, or an empty text if it can name all."""
    annotated = [sample.id for sample in samples if any(isinstance(mask, LesionMask) for mask in sample.masks)]
    if not annotated:
        return ""
    named = f"a table names mask files, and {len(annotated)} samples have masks in annotation files: {name_some(annotated)}"
    return f"{named}. Write them with to_coco, to_labelme, to_yolo or to_nnunet."


def table_of(samples: Sequence[Sample], path_text: Callable[[Path], str]) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows of a table of samples, with None for what is unknown and for masks in annotation files.

    Args:
        samples: The samples.
        path_text: Function that returns the text of a file's path.

    Raises:
        DatasetError: A scan has several masks, and the name of one contains the mark between them.
    """
    facts = sorted({name for sample in samples for name in sample.facts})
    rows: list[list[Any]] = []
    for sample in samples:
        files = [path_text(mask) for mask in sample.masks if not isinstance(mask, LesionMask)]
        if len(set(files)) > 1 and (marked := next((name for name in files if BETWEEN in name), None)):
            raise DatasetError(
                f"{marked}: {sample.id} has several masks, and {BETWEEN!r} divides their names in a table. Rename it."
            )
        masks = BETWEEN.join(dict.fromkeys(files)) or None
        spacing = BETWEEN.join(map(repr, sample.spacing or ())) or None
        own = [sample.facts.get(name) for name in facts]
        rows.append([sample.id, path_text(sample.image), masks, sample.label, sample.group, sample.part, spacing, *own])
    return [*COLUMNS, *(name if name in FACTS else OWN_FACT + name for name in facts)], rows


def _table(listing: Listing) -> Path | None:
    if listing.table:
        return listing.table
    top = [name for name in listing.tables if "/" not in name]
    return listing.path(top[0]) if len(top) == 1 else None


def _unknown_cells(table: Table, columns: Columns, labels: Set[str]) -> Mapping[str, Set[str]]:
    """Return the texts of each field that stand for an unknown value, and warn of them.

    Args:
        table: The table.
        columns: Its columns.
        labels: Labels that the user's mapping of classes names, which are known.
    """
    found: dict[str, Counter[str]] = {}
    for field in MAY_BE_UNKNOWN:
        texts = Counter(cell_text(row.get(columns.fields[field])) for row in table.rows) if field in columns.fields else Counter()
        known = ("", *labels) if field == "label" else ("",)
        if field == "label" and "+" in texts:  # its opposite
            known = (*known, "-")
        words = {text for text in texts if is_unknown(text) or (field == "mask" and text.lower() == "none")}
        found[field] = Counter({text: count for text, count in texts.items() if text in words and text not in known})
    named = [f"{columns.fields[field]} {text!r} ({count})" for field, texts in found.items() for text, count in texts.items()]
    if named:
        label = next(iter(found["label"]), None)
        keep = f" If the label {label!r} is a class, name it: class_map={{{label!r}: {label!r}}}." if label else ""
        warn_caller(f"{table.name}: cells that stand for an unknown value: {name_some(named, 10)}.{keep}", DataWarning)
    return {field: frozenset(texts) for field, texts in found.items()}


class _Cells:
    """The cells of a row by field."""

    def __init__(self, row: Row, columns: Columns, unknown: Mapping[str, Set[str]]) -> None:
        self._row, self._columns, self._unknown = row, columns.fields, unknown
        self.has_masks = "mask" in columns.fields

    def value(self, field: str) -> Any:
        return self._row.get(self._columns[field]) if field in self._columns else None

    def text(self, field: str) -> str:
        text = cell_text(self.value(field))
        return "" if text in self._unknown.get(field, ()) else text


def _sample(cells: _Cells, facts: Mapping[str, Any], number: int, files: FileIndex) -> tuple[Sample, list[str]]:
    image, problems = Path(), []
    if cells.text("image"):
        image, problem = files.find(cells.text("image"))
        problems += [problem] if problem else []
    else:
        problems.append("names no image")
    masks = files.masks_of(image) if not cells.has_masks and not problems else ()
    for name in _mask_names(cells.value("mask"), files) if cells.text("mask") else ():
        mask, problem = files.find(name, mask=True)
        masks = (*masks, mask)
        problem = problem or (f"{mask}: is the image, not its mask" if mask == image else "")
        problems += [problem] if problem else []
    spacing, part = _spacing(cells.text("spacing")), cells.text("split")
    if spacing == ():
        problems.append(
            f"spacing {cells.text('spacing')!r} is neither a number of mm per pixel from {SPACING_RANGE[0]} to {SPACING_RANGE[1]:g}"
            f", nor two with {BETWEEN!r} between"
        )
    if part and part.lower() not in PARTS:
        problems.append(f"split {part!r} is not one of {', '.join(PARTS)}")
    return Sample(
        id=cells.text("id") or cells.text("image").replace("\\", "/") or str(number),
        image=image,
        masks=masks,
        label=cells.text("label") or None,
        group=WHOLE.sub(r"\1", cells.text("group")) if WHOLE.fullmatch(cells.text("group")) else cells.text("group") or None,
        part=PARTS.get(part.lower()),
        spacing=spacing or None,
        facts=facts,
    ), problems


def _mask_names(value: Any, files: FileIndex) -> Sequence[str]:
    if isinstance(value, str) and BETWEEN in value and not files.find(value, mask=True)[1]:
        return [value]  # one file, whose name contains the mark
    names = value if isinstance(value, (list, tuple)) else [] if is_missing(value) else str(value).split(BETWEEN)
    return [text for name in names if (text := cell_text(name).strip())]


def _spacing(cell: str) -> Spacing | tuple[()] | None:
    """Return the spacing down and across, None for an empty cell, or ``()`` for an invalid one.

    A comma separates two numbers in ``(0.1, 0.2)``, and is a decimal comma in ``0,08``.
    """
    if not cell:
        return None
    text = cell.strip("()[]").replace("x", BETWEEN)
    decimal_comma = BETWEEN in text or (text == cell and "." not in text and ", " not in text)
    text = text.replace(",", "." if decimal_comma else BETWEEN)
    try:
        numbers = [float(number) for number in text.split(BETWEEN)]
    except ValueError:
        return ()
    least, most = SPACING_RANGE
    if len(numbers) > 2 or not all(least <= number <= most for number in numbers):
        return ()
    return numbers[0], numbers[-1]
