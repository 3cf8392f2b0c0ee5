"""Facts about scans, patients and machines, from the cells of tables and the headers of DICOM files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bcdseg.data.readers import mapped
from bcdseg.data.tables.columns import FACTS
from bcdseg.data.tables.files import cell_text
from bcdseg.errors import DataWarning
from bcdseg.messages import name_some, warn_caller
from bcdseg.sources import SUFFIXES as DICOM_SUFFIXES
from bcdseg.types import Fact, Sample

NUMBERS = {"age": 130, "ki67": 100}
"""Facts that are numbers, and the largest possible value of each; the smallest is 0."""
UNKNOWN = ("", "-", "?", "n/a", "na", "nan", "not available", "not applicable", "null", "unknown")
RECEPTORS = ("er", "pr", "her2")
NEGATIVE = "-"


def is_unknown(cell: str) -> bool:
    """Return whether the text of a cell stands for an unknown value: ``NA``, ``?``, ``unknown`` and others."""
    return cell.lower() in UNKNOWN


def read_facts(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], table: str, first_row: int = 2
) -> list[dict[str, Fact]]:
    """Return the facts of each row of a table, without the unknown ones.

    ``-`` is unknown, except as the status of a receptor, where it is negative. Ages are numbers from 0 to 130: if some cells of
    their column are numbers, the others are unknown, with a warning, and so are codes such as -1 and 999. Facts that the library
    has no name for are numbers if all cells of their column are. Other facts are texts, so that BI-RADS 4 and 4a are values of one
    kind.

    Args:
        rows: The rows.
        columns: Column of each fact.
        table: Name of the table in warnings.
        first_row: Number of the first row in warnings.
    """
    facts: list[dict[str, Fact]] = [{} for _ in rows]
    for name, column in columns.items():
        cells = [cell_text(row.get(column)) for row in rows]
        values = (NEGATIVE,) if name in RECEPTORS else ()
        known = [cell if cell in values or not is_unknown(cell) else "" for cell in cells]
        numbers = [_number(cell) if cell else None for cell in known]
        most = NUMBERS.get(name)
        odd = [at for at, number in enumerate(numbers) if most is not None and number is not None and not 0 <= number <= most]
        if odd:
            _warn(table, f"{column!r} is not from 0 to {most}", [(first_row + at, known[at]) for at in odd])
            for at in odd:
                known[at], numbers[at] = "", None
        texts = [at for at, cell in enumerate(known) if cell and numbers[at] is None]
        if name in NUMBERS and texts and any(number is not None for number in numbers):
            _warn(table, f"{column!r} is not a number", [(first_row + at, known[at]) for at in texts])
            in_numbers = True
        else:
            in_numbers = (name in NUMBERS or name not in FACTS) and not texts
        for own, cell, number in zip(facts, known, numbers, strict=True):
            if in_numbers and number is not None:
                own[name] = number
            elif cell and not in_numbers:
                own[name] = cell
    return facts


def _warn(table: str, problem: str, cells: Sequence[tuple[int, str]]) -> None:
    named = name_some([f"row {row} {cell!r}" for row, cell in cells])
    warn_caller(f"{table}: {problem} in {named}, so it is unknown there. Write one number in each cell.", DataWarning)


def with_header_facts(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples with the facts of their DICOM headers; a table's own facts are kept where both have one.

    The headers of files with a DICOM suffix are read. A file that can't be opened adds none: reading it reports the error.
    """
    from bcdseg.dicom.facts import header_facts

    dicom = [sample for sample in samples if sample.image.suffix.lower() in DICOM_SUFFIXES]
    found = dict(
        zip((sample.id for sample in dicom), mapped(lambda sample: header_facts(sample.image), dicom, _ignore), strict=True)
    )
    return [replace(sample, facts={**found[sample.id], **sample.facts}) if found.get(sample.id) else sample for sample in samples]


def _number(text: str) -> float | int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _ignore(_: int) -> None:
    pass
