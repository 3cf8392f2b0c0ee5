"""Storage of an archive's input and output, on disk or through fsspec."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bcdseg.batch.run_manifest import Record
from bcdseg.data.images import SUFFIXES
from bcdseg.data.readers import NO_SCAN, is_single, list_images, natural
from bcdseg.dicom.scan import is_directory_file, listed, members
from bcdseg.errors import ImageNotFoundError
from bcdseg.extras import require
from bcdseg.inference.writers import DESCRIPTOR_COLUMNS, columns_of, common_folder, table_cell
from bcdseg.sources import MARK_ENDS, ImageSource, is_dicom
from bcdseg.sources import SUFFIXES as DICOM_SUFFIXES

MARK = "://"
WILDCARDS = "*?["


class Fetched(io.BytesIO):
    """Content of an address as a file object with a name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def list_files(places: Iterable[str]) -> dict[str, bool]:
    """List the image files of folders, patterns and addresses, each once, in the given order, without reading pixels.

    Each file has a flag for whether it was named itself: a file in a folder may be something else than a scan, a named one may not.
    """
    files: dict[str, bool] = {}
    for place in places:
        found, named = _listed(place)
        files |= {file: named or files.get(file, False) for file in found}
    return files


def scans_of(file: str, frames: int, *, named: bool) -> Iterator[ImageSource]:
    """Return the scans of a file: an image, or each n-th frame of a DICOM clip; none for a DICOM report in a folder."""
    source = Fetched(_fetched(file), file) if MARK in file else Path(file)
    return members(source, frames, in_folder=not named) if is_dicom(source) else iter([source])


def folder_of(places: Iterable[str], files: Iterable[str]) -> Path:
    """Return the folder from which the names of output files are counted: the deepest with all files and all given folders.

    Only the places decide where they are folders. So names stay when files arrive, and shards of one archive agree on them.
    """
    known = list(files)
    folders = [place for place in places if (_is_remote_folder(place, known) if MARK in place else Path(place).is_dir())]
    return common_folder([*map(as_path, known), *(as_path(place) / "scan" for place in folders)])


def _is_remote_folder(place: str, files: Sequence[str]) -> bool:
    return not any(mark in place for mark in WILDCARDS) and place not in files


def as_path(file: str) -> Path:
    """Return an address as a path, from which names of output files are derived."""
    scheme, mark, rest = file.partition(MARK)
    return Path("/", scheme, rest.lstrip("/")) if mark else Path(file)


def _listed(place: str) -> tuple[list[str], bool]:
    if MARK in place:
        return _listed_remotely(place)
    if is_directory_file(place):
        return [os.fspath(path) for path in listed(Path(place))], False
    if is_single(place) or is_dicom(place):
        return [os.fspath(Path(place))], True
    return [os.fspath(path) for path in list_images(place)], False


def _listed_remotely(place: str) -> tuple[list[str], bool]:
    system, path = _at(place)
    if any(mark in path for mark in WILDCARDS):
        found = [name for name in system.glob(path) if system.isfile(name)]
    elif system.isfile(path):
        return [str(system.unstrip_protocol(path))], True
    else:
        found = system.find(path)
    base = PurePosixPath(path)
    named = [name for name in found if _may_be_scan(PurePosixPath(name), base)]
    bare = [name for name in named if not PurePosixPath(name).suffix]
    starts = system.cat_ranges(bare, [0] * len(bare), [MARK_ENDS] * len(bare), on_error="return") if bare else []
    other = {name for name, start in zip(bare, starts, strict=True) if not (isinstance(start, bytes) and is_dicom(start))}
    files = sorted((name for name in named if name not in other), key=lambda name: natural(Path(name)))
    if not files:
        raise ImageNotFoundError(f"{place}: contains no image ({', '.join(SUFFIXES)}, DICOM); masks don't count.")
    return [str(system.unstrip_protocol(name)) for name in files], False


def _may_be_scan(name: PurePosixPath, base: PurePosixPath) -> bool:
    below = name.relative_to(base).parts if base in name.parents else (name.name,)
    if any(part.startswith(".") for part in below) or NO_SCAN.search(name.stem) or name.name.upper() == "DICOMDIR":
        return False
    return name.suffix.lower() in ("", *SUFFIXES, *DICOM_SUFFIXES)


def _fetched(address: str) -> bytes:
    system, path = _at(address)
    return bytes(system.cat_file(path))


def _at(address: str) -> tuple[Any, str]:
    fsspec = require("fsspec", extra="ray", purpose=f"Reading {address.partition(MARK)[0]}{MARK}")
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:  # an unknown scheme, or one whose package is missing
        raise ImageNotFoundError(f"{address}: can't be reached ({error}).") from error
    return system, str(path)


TEXT = ("source", "label", *DESCRIPTOR_COLUMNS, "spacing_from", "flags", "error")
COUNTS = ("lesions", "candidates", "area_px")
DETAILS = "details"
MOST_ROWS = 10_000  # rows per row group, which is in memory as a whole


def parquet_bytes(records: Iterable[Record], classes: Sequence[str]) -> bytes:
    """Return a Parquet table with one row per scan, in order. Unknown values are null."""
    pyarrow = require("pyarrow", extra="ray", purpose="Parquet")
    parquet = require("pyarrow.parquet", extra="ray", purpose="Parquet")
    schema = pyarrow.schema([(name, _kind(pyarrow, name)) for name in (*columns_of(classes), DETAILS)])
    buffer = io.BytesIO()
    with parquet.ParquetWriter(buffer, schema) as writer:
        rows: list[dict[str, Any]] = []
        for record in records:
            rows += [_row(row, result) for row, result in zip(record.rows, record.results, strict=True)]
            if len(rows) >= MOST_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    return buffer.getvalue()


def _row(row: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    known = {name: table_cell(name, value) for name, value in row.items() if value != "" or name == "flags"}
    text = {name: _text(known[name]) for name in TEXT if name in known}
    return {**known, **text, DETAILS: json.dumps(result)}


def _text(value: str) -> str:
    """Escape bytes of a file name that are not valid text."""
    return value.encode("utf-8", "backslashreplace").decode()


def _kind(pyarrow: Any, name: str) -> Any:
    if name in (*TEXT, DETAILS):
        return pyarrow.string()
    return pyarrow.int64() if name in COUNTS else pyarrow.float64()
