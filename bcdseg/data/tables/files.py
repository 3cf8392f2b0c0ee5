"""Tables of files (CSV, Excel, Parquet) and tables in memory, read as rows of named cells."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcdseg.errors import DatasetError, DataWarning
from bcdseg.extras import require
from bcdseg.messages import warn_caller
from bcdseg.table_text import read_csv
from bcdseg.types import as_text

SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx")
END = "bcdseg end of table"
"""Last line that is added to the text of a table; it is a row of its own unless a quotation mark before it is open."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table: its name for messages, its columns as they are written, and its rows."""

    name: str
    columns: tuple[str, ...]
    rows: list[Row]
    first_row: int = 2

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(self.columns).items() if count > 1]
        if repeated:
            raise DatasetError(f"{self.name}: has the column {repeated[0]!r} more than once. Give each column a name of its own.")


def read_table(path: Path) -> Table:
    """Read a table, with white space around cells removed and ``""`` for empty cells.

    Raises:
        DatasetError: The file is not a table of the kind that its suffix names, or is damaged.
        MissingExtraError: The package that reads this kind of table is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    if suffix == ".xlsx":
        return _excel(path)
    text = _text(path)
    columns = _header(text, path)
    rows = _csv_rows(text, path, strip=True)
    for number, row in enumerate(rows, start=2):
        if any(row.pop(None, None) or ()):
            raise DatasetError(f"{path} row {number}: has more cells than the header, which names {len(columns)} columns.")
    if any(row.get("") for row in rows):  # such as the index that pandas writes
        warn_caller(f"{path}: a column without a name isn't used. To use it, name it in the header.", DataWarning)
    cells = [{name.strip(): cell or "" for name, cell in row.items() if name.strip()} for row in rows]
    return Table(str(path), tuple(filter(None, columns)), cells)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read all rows of a table, by column names in lower case."""
    return [{name.lower(): cell_text(cell) for name, cell in row.items()} for row in read_table(path).rows]


def csv_rows(path: Path) -> list[dict[Any, Any]]:
    """Read all rows of a CSV file, with None for missing cells and without the apostrophe in front of formulas."""
    return _csv_rows(_text(path), path, strip=False)


def column_names(path: Path) -> list[str]:
    """Return the column names of a CSV file, and none for other formats, which would have to be read as a whole."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return []
    with path.open("rb") as file:
        header = file.readline(65536).decode("utf-8-sig", "replace")
    return _header(header, path)


def memory_table(source: Any, store: Callable[[Row, int, str], Row], name: str) -> Table | None:
    """Return a table in memory as rows, or None for an object of another kind.

    A table is a DataFrame (pandas, Polars), an Arrow table, a mapping of columns, or a sequence of mappings, such as a list of
    dicts or a map-style data set of torch whose items are dicts.

    Args:
        source: The table.
        store: Function of an item, its number and the table's name, which is called as soon as the item is read, so that the
            arrays of all items need not fit into memory.
        name: Name of the table for error messages.
    """
    if hasattr(source, "to_dicts"):  # Polars
        return _of_rows(name, map(str, source.columns), source.to_dicts())
    if hasattr(source, "to_pylist") and hasattr(source, "column_names"):  # Arrow
        return _of_rows(name, map(str, source.column_names), source.to_pylist())
    if hasattr(source, "to_dict") and hasattr(source, "columns"):  # pandas
        return _of_rows(name, map(str, source.columns), source.to_dict("records"))
    if isinstance(source, Mapping):
        return _of_columns(name, source)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__") and not isinstance(source, (str, bytes)):
        items = [store(_item(source[at], name), at, name) for at in range(len(source))]
        return _of_rows(name, dict.fromkeys(key for item in items for key in item), items)
    return None


def cell_text(value: Any) -> str:
    """Return the text of a cell, ``""`` for a missing one; a whole number that a table stores as 7.0 becomes 7."""
    if is_missing(value):
        return ""
    return value if isinstance(value, str) else as_text(value)


def is_missing(value: Any) -> bool:
    """Return whether a cell has no value: None, NaN, and the markers of pandas."""
    if value is None or isinstance(value, str):
        return value is None
    if getattr(value, "shape", ()) != () or isinstance(value, (list, tuple)):
        return False
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas.NA
        return True


def _item(item: Any, name: str) -> Row:
    if not isinstance(item, Mapping):
        raise DatasetError(
            f"{name}: its items are not dicts. Give dicts with 'image', and with 'mask', 'label' and 'group' where known."
        )
    return {str(key): value for key, value in item.items()}


def _of_rows(name: str, columns: Iterable[str], rows: Iterable[Mapping[Any, Any]]) -> Table:
    return Table(
        name,
        tuple(name.strip() for name in columns),
        [_stripped((str(key), value) for key, value in row.items()) for row in rows],
        0,
    )


def _of_columns(name: str, columns: Mapping[Any, Sequence[Any]]) -> Table:
    single = [key for key, values in columns.items() if isinstance(values, str) or not hasattr(values, "__len__")]
    if single:
        raise DatasetError(f"{name}: the column {single[0]!r} is not a list or an array of one value per scan.")
    lengths = {str(key): len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise DatasetError(f"{name}: its columns have different lengths ({counts}).")
    count = next(iter(lengths.values()), 0)
    return _of_rows(name, lengths, ({key: values[at] for key, values in columns.items()} for at in range(count)))


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is not UTF-8 text. Save the table as CSV in UTF-8.") from None
    if "\0" in text:
        raise DatasetError(f"{path}: contains a NUL character, so it is damaged or not a CSV file. Save the table again as CSV.")
    return text


def _delimiter(text: str) -> str:
    """Return the most frequent delimiter of the header, since cells of other rows may contain several masks."""
    header = (text.splitlines() or [""])[0]
    return max(",;\t", key=header.count)


def _header(text: str, path: Path) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)), [])]
    except csv.Error as error:
        raise _damaged(path, "CSV", error) from error


def _csv_rows(text: str, path: Path, *, strip: bool) -> list[dict[Any, Any]]:
    delimiter = _delimiter(text)
    try:
        rows = read_csv(text, delimiter, strip=strip)
        *before, last = csv.reader(io.StringIO(f"{text}\n{END}", newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise _damaged(path, "CSV", error) from error
    if last != [END]:
        raise DatasetError(
            f'{path} row {len(before) + 1}: a quotation mark (") is not closed, so that all that follows is one cell. Close it, or '
            "write it twice where it is part of a text."
        )
    return rows


def _parquet(path: Path) -> Table:
    parquet = require("pyarrow.parquet", extra="tables", purpose=f"Reading {path.name}")
    try:
        table = parquet.read_table(path)
        names, rows = table.column_names, table.to_pylist()
    except Exception as error:  # pyarrow's own classes, and those of the codecs below it
        raise _damaged(path, "Parquet", error) from error
    return Table(str(path), tuple(name.strip() for name in names), [_stripped(row.items()) for row in rows])


def _excel(path: Path) -> Table:
    openpyxl = require("openpyxl", extra="tables", purpose=f"Reading {path.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl's advice on styles and validations, which don't change any value
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            try:
                names = book.sheetnames
                sheet = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
            finally:
                book.close()
    except Exception as error:  # zipfile's, the XML parser's, and KeyError for a missing part
        raise _damaged(path, "Excel", error) from error
    if len(names) > 1:
        message = f"{path}: the first sheet, {names[0]!r}, is read. Sheets that aren't used: {', '.join(names[1:])}."
        warn_caller(message, DataWarning)
    rows = [row for row in sheet if any(not is_missing(cell) for cell in row)]
    header = [cell_text(cell) for cell in rows[0]] if rows else []
    named = [at for at, name in enumerate(header) if name]
    return Table(
        str(path), tuple(header[at] for at in named), [_stripped((header[at], row[at]) for at in named) for row in rows[1:]]
    )


def _stripped(cells: Iterable[tuple[str, Any]]) -> Row:
    return {name.strip(): cell.strip() if isinstance(cell, str) else cell for name, cell in cells}


def _damaged(path: Path, kind: str, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: can't be read as {kind} ({type(error).__name__}: {error}). Save the table again.")
