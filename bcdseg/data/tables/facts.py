"""Facts about scans, patients and machines, from the cells of tables and the headers of DICOM files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bcdseg.data.readers import mapped
from bcdseg.data.tables.columns import FACTS
from bcdseg.data.tables.files import cell_text
from bcdseg.sources import SUFFIXES as DICOM_SUFFIXES
from bcdseg.types import Fact, Sample

NUMBERS = ("age", "ki67")
UNKNOWN = ("", "-", "?", "n/a", "na", "nan", "not available", "not applicable", "null", "unknown")
RECEPTORS = ("er", "pr", "her2")
NEGATIVE = "-"


def read_facts(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[dict[str, Fact]]:
    """Return the facts of each row of a table, without the unknown ones.

    ``-`` is unknown, except as the status of a receptor, where it is negative. Ages, and facts that the library has no name for,
    are numbers where all cells of their column are; other facts are texts, so that BI-RADS 4 and 4a are values of one kind.

    Args:
        rows: The rows.
        columns: Column of each fact.
    """
    facts: list[dict[str, Fact]] = [{} for _ in rows]
    for name, column in columns.items():
        cells = [cell_text(row.get(column)) for row in rows]
        values = (NEGATIVE,) if name in RECEPTORS else ()
        known = [cell if cell in values or cell.lower() not in UNKNOWN else "" for cell in cells]
        numbers = [_number(cell) for cell in known if cell] if name in NUMBERS or name not in FACTS else [None]
        in_numbers = all(number is not None for number in numbers)
        for own, cell in zip(facts, known, strict=True):
            if cell:
                own[name] = _number(cell) or 0 if in_numbers else cell
    return facts


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
