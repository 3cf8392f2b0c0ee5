"""Results of finished runs: one small JSON file each, and the predictions of all scans next to it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bcdseg.evaluation.metrics.outline import Outline
from bcdseg.evaluation.results_table import Case, Cases, as_case, table_of
from bcdseg.files import write_whole

CASES = ".cases.json.gz"


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        facts: How it was trained, and its headline figures.
        cases: Results table of each test set by its name: the held-back part, then other hospitals.
    """

    facts: Mapping[str, Any]
    cases: Mapping[str, Cases]


def save(result: Result, folder: Path, name: str) -> None:
    """Write the predictions, then the JSON file, which marks the run as finished."""
    tables = {
        test: {
            "classes": table.classes,
            "no_lesion": table.no_lesion,
            "cases": [asdict(as_case(table, at)) for at in range(len(table))],
        }
        for test, table in result.cases.items()
    }
    write_whole(folder / f"{name}{CASES}", gzip.compress(json.dumps(tables).encode(), mtime=0), overwrite=True)
    write_whole(folder / f"{name}.json", json.dumps(result.facts, indent=1).encode(), overwrite=True, durable=True)


def is_finished(folder: Path, name: str) -> bool:
    """Return whether the run is finished."""
    return (folder / f"{name}.json").is_file()


def load(folder: Path, name: str) -> Result:
    """Read a finished run."""
    tables = json.loads(gzip.decompress((folder / f"{name}{CASES}").read_bytes()))
    cases = {
        test: table_of(map(_case, table["cases"]), classes=table["classes"], no_lesion=table["no_lesion"])
        for test, table in tables.items()
    }
    return Result(json.loads((folder / f"{name}.json").read_text()), cases)


def _case(row: dict[str, Any]) -> Case:
    outline = None if row["outline"] is None else Outline(**row["outline"])
    return Case(**{**row, "outline": outline, "size": tuple(row["size"])})
