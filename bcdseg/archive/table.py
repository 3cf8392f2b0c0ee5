"""The answers for an archive as Parquet: the columns of the CSV table, and everything else as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from bcdseg.extras import require
from bcdseg.infer.journal import Record
from bcdseg.infer.output import columns_of

TEXT = ("source", "label", "spacing_from", "flags", "error")
COUNTS = ("lesions", "area_px")
DETAILS = "details"
MOST_ROWS = 10_000  # of a group, which is held at once


def parquet_bytes(records: Iterable[Record], classes: Sequence[str]) -> bytes:
    """One row a scan, in order. What is not known is null."""
    pyarrow = require("pyarrow", extra="ray", purpose="Parquet")
    parquet = require("pyarrow.parquet", extra="ray", purpose="Parquet")
    schema = pyarrow.schema([(name, _kind(pyarrow, name)) for name in (*columns_of(classes), DETAILS)])
    held = io.BytesIO()
    with parquet.ParquetWriter(held, schema) as writer:
        rows: list[dict[str, Any]] = []
        for record in records:
            rows += [_row(row, result) for row, result in zip(record.rows, record.results, strict=True)]
            if len(rows) >= MOST_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    return held.getvalue()


def _row(row: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in row.items() if value != "" or name == "flags"}
    text = {name: _text(known[name]) for name in TEXT if name in known}
    return {**known, **text, DETAILS: json.dumps(result)}


def _text(value: str) -> str:
    """A file name may hold bytes that are no text."""
    return value.encode("utf-8", "backslashreplace").decode()


def _kind(pyarrow: Any, name: str) -> Any:
    if name in (*TEXT, DETAILS):
        return pyarrow.string()
    return pyarrow.int64() if name in COUNTS else pyarrow.float64()
