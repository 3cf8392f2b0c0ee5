"""Images and masks in memory, stored in a temporary folder so that they can be used like files."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.data.images import ARRAY_SUFFIX, read_image
from bcdseg.data.masks import mask_of
from bcdseg.data.tables.columns import match_columns
from bcdseg.data.tables.files import Row, Table, cell_text
from bcdseg.errors import ImageError

PREFIX = "bcdseg-arrays-"


def store_arrays(table: Table, columns: Any) -> Table:
    """Return a table whose arrays, tensors and PIL images are replaced by the paths of files.

    The files are in a temporary folder that is removed when the program exits. A row with an array as its image gets its number
    as its id, unless the table has ids.
    """
    fields = match_columns(table.columns, columns, table.name).fields
    image, mask, own = (fields.get(field) for field in ("image", "mask", "id"))
    if not any(_is_array(row.get(column)) for row in table.rows for column in (image, mask) if column):
        return table
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rows = []
    for number, row in enumerate(table.rows):
        name = f"{table.name} row {number}"
        stored: Row = dict(row)
        if image and _is_array(row.get(image)):
            stored[image] = _save(folder / f"{number}{ARRAY_SUFFIX}", read_image(row[image], f"{name} image"))
            if own is None:
                stored["id"] = str(number)
        if mask and _is_array(row.get(mask)):
            stored[mask] = _save(folder / f"{number}_mask{ARRAY_SUFFIX}", mask_of(_values(row[mask], name)))
        rows.append(stored)
    names = table.columns if own is not None else (*table.columns, "id")
    return Table(table.name, names, rows, table.first_row)


def _is_array(cell: Any) -> bool:
    return isinstance(cell, Image.Image) or (hasattr(cell, "shape") and cell.shape != ())


def _values(mask: Any, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    values = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    if values.dtype.kind not in "buif" or values.squeeze().ndim not in (2, 3):
        raise ImageError(f"{name}: an array of shape {values.shape} and type {values.dtype} is not a mask; H x W of numbers is.")
    return values


def _save(path: Path, array: np.ndarray[Any, np.dtype[Any]]) -> str:
    np.save(path, array, allow_pickle=False)
    return cell_text(path)
