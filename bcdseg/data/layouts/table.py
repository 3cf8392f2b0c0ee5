"""A table of files: ``image``, and optionally ``id``, ``mask``, ``label``, ``group`` or ``patient``, ``split``, ``spacing``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from bcdseg.csv_text import csv_text
from bcdseg.data.layouts.listing import Found, Listing
from bcdseg.data.layouts.names import PARTS
from bcdseg.data.layouts.rows import Row, columns, read_rows
from bcdseg.errors import DatasetError
from bcdseg.files import write_whole
from bcdseg.types import Sample, Spacing

COLUMNS = ("id", "image", "mask", "label", "group", "split", "spacing")
BETWEEN = ";"


def recognise(listing: Listing) -> bool:
    """A table that was named by the user, or the only one in the folder itself, with a column ``image``."""
    path = _table(listing)
    return path is not None and (path.suffix.lower() == ".parquet" or "image" in columns(path))


def read(listing: Listing) -> Found:
    """One sample a row; relative paths start at the table's folder."""
    path = _table(listing)
    if path is None:
        raise DatasetError(f"{listing.root}: has no table, or several. Give the path of the table itself.")
    rows = read_rows(path)
    if not rows or "image" not in rows[0]:
        have = ", ".join(rows[0]) if rows else "no rows"
        raise DatasetError(f"{path}: needs a column 'image' (it has: {have}). Other columns that are read: {', '.join(COLUMNS)}.")
    found = Found()
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
    """Write samples as a table, whole or not at all."""
    path = Path(path)
    start = path.parent.resolve()

    def relative(file: Path) -> str:
        try:
            return Path(os.path.relpath(file.resolve(), start)).as_posix()
        except ValueError:  # another drive
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
    """Down and across; ``()`` when the cell says nothing that makes sense."""
    if not cell:
        return None
    try:
        numbers = [float(number) for number in cell.replace("x", BETWEEN).split(BETWEEN)]
    except ValueError:
        return ()
    if len(numbers) > 2 or not all(0 < number < float("inf") for number in numbers):
        return ()
    return numbers[0], numbers[-1]
