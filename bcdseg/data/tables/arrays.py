"""Images and masks in memory, also as the bytes of files, stored in a temporary folder so that they can be used like files."""

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

from bcdseg.data.images import ARRAY_SUFFIX, SUFFIXES, read_image
from bcdseg.data.masks import check_mask, mask_of
from bcdseg.data.tables.columns import match_columns
from bcdseg.data.tables.files import Row, Table, cell_text
from bcdseg.errors import DatasetError

PREFIX = "bcdseg-arrays-"


class ArrayFiles:
    """Files of the arrays, tensors, PIL images and encoded images of a table, in a temporary folder until the program exits.

    An encoded image is the bytes of a file, or a dict of ``bytes`` and ``path``, as in Parquet files of Hugging Face.

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
            content = _content(row[image])
            if content is None:
                stored[image] = _save(self._folder / f"{number}{ARRAY_SUFFIX}", read_image(row[image], f"{name} image"))
            else:
                stored[image] = _write(self._folder / f"{number}{_suffix(row[image])}", content)
            if "id" not in fields:
                stored["id"] = str(number)
        if mask and _is_array(row.get(mask)):
            content = _content(row[mask])
            if content is None:
                stored[mask] = _save(self._folder / f"{number}_mask{ARRAY_SUFFIX}", mask_of(_values(row[mask], f"{name} mask")))
            else:
                stored[mask] = _write(self._folder / f"{number}_mask{_suffix(row[mask])}", content)
        return stored

    @cached_property
    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


def store_arrays(table: Table, columns: Mapping[str, str | None], files: ArrayFiles) -> Table:
    """Return a table whose arrays, tensors, PIL images and encoded images are replaced by the paths of files."""
    fields = match_columns(table.columns, columns, table.name).fields
    if not any(_is_array(row.get(column)) for row in table.rows for field in ("image", "mask") if (column := fields.get(field))):
        return table
    rows = [files.stored(row, fields, number, table.name) for number, row in enumerate(table.rows)]
    names = table.columns if "id" in fields else (*table.columns, "id")
    return Table(table.name, names, rows, table.first_row)


def _is_array(cell: Any) -> bool:
    return isinstance(cell, Image.Image) or (hasattr(cell, "shape") and cell.shape != ()) or _content(cell) is not None


def _content(cell: Any) -> bytes | None:
    """Return the bytes of an encoded image, None for another cell."""
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    return content if isinstance(content, bytes) else None


def _suffix(cell: Any) -> str:
    """Return the suffix of an encoded image's own file, or that of PNG; images are read by their content."""
    path = cell.get("path") if isinstance(cell, Mapping) else None
    suffix = Path(str(path)).suffix.lower()
    return suffix if suffix in SUFFIXES else ".png"


def _values(mask: Any, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    return check_mask(np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask), name)


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return cell_text(path)


def _save(path: Path, array: np.ndarray[Any, np.dtype[Any]]) -> str:
    np.save(path, array, allow_pickle=False)
    return cell_text(path)
