"""Images and masks in memory, stored in a temporary folder so that they can be used like files."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.data.images import ARRAY_SUFFIX, read_image
from bcdseg.data.masks import check_mask, mask_of
from bcdseg.data.tables.columns import match_columns
from bcdseg.data.tables.files import Row, Table, cell_text
from bcdseg.errors import DatasetError

PREFIX = "bcdseg-arrays-"


class ArrayFiles:
    """Files of the arrays, tensors and PIL images of a table in memory, in a temporary folder until the program exits.

    Args:
        columns: Columns of the table by field, where the user named them.
    """

    def __init__(self, columns: Mapping[str, str | None]) -> None:
        self._columns = columns
        self._fields: dict[tuple[str, ...], Mapping[str, str]] = {}

    def stored_item(self, item: Row, number: int, table: str) -> Row:
        """Return an item of a data set, stored as it is read; one that lacks a named column is left to ``store_arrays``."""
        names = tuple(item)
        if names not in self._fields:
            try:
                self._fields[names] = match_columns(names, self._columns, table).fields
            except DatasetError:
                self._fields[names] = {}
        return self.stored(item, self._fields[names], number, table)

    def stored(self, row: Row, fields: Mapping[str, str], number: int, table: str) -> Row:
        """Return a row with paths in place of arrays. An array as the image gets the row's number as its id, if there is none."""
        image, mask = (fields.get(field) for field in ("image", "mask"))
        name, stored = f"{table} row {number}", dict(row)
        if image and _is_array(row.get(image)):
            stored[image] = _save(self._folder / f"{number}{ARRAY_SUFFIX}", read_image(row[image], f"{name} image"))
            if "id" not in fields:
                stored["id"] = str(number)
        if mask and _is_array(row.get(mask)):
            stored[mask] = _save(self._folder / f"{number}_mask{ARRAY_SUFFIX}", mask_of(_values(row[mask], f"{name} mask")))
        return stored

    @cached_property
    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


def store_arrays(table: Table, columns: Mapping[str, str | None], files: ArrayFiles) -> Table:
    """Return a table whose arrays, tensors and PIL images are replaced by the paths of files."""
    fields = match_columns(table.columns, columns, table.name).fields
    if not any(_is_array(row.get(column)) for row in table.rows for field in ("image", "mask") if (column := fields.get(field))):
        return table
    rows = [files.stored(row, fields, number, table.name) for number, row in enumerate(table.rows)]
    names = table.columns if "id" in fields else (*table.columns, "id")
    return Table(table.name, names, rows, table.first_row)


def _is_array(cell: Any) -> bool:
    return isinstance(cell, Image.Image) or (hasattr(cell, "shape") and cell.shape != ())


def _values(mask: Any, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    return check_mask(np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask), name)


def _save(path: Path, array: np.ndarray[Any, np.dtype[Any]]) -> str:
    np.save(path, array, allow_pickle=False)
    return cell_text(path)
