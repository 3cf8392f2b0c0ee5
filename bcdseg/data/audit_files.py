"""An audit on disk: a table, everything as JSON, and a page."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.csv_text import csv_text
from bcdseg.files import check_free, write_whole

if TYPE_CHECKING:
    from bcdseg.data.audit import Audit

NAMES = ("audit.json", "audit.csv", "index.html")


def save(audit: Audit, folder: Path, overwrite: bool) -> Path:
    """Write the three files, each whole or not at all, and give the page's path."""
    from bcdseg.data.audit_page import page

    check_free(places(folder), overwrite=overwrite)
    contents = (as_json(audit), as_table(audit), page(audit))
    for path, content in zip(places(folder), contents, strict=True):
        write_whole(path, content.encode(), overwrite=overwrite)
    return folder / "index.html"


def places(folder: Path) -> list[Path]:
    """The files of an audit in a folder."""
    return [folder / name for name in NAMES]


def as_json(audit: Audit) -> str:
    """Everything that was found."""
    content = {
        "name": audit.name,
        "scans": len(audit.samples),
        "duplicate_groups": audit.duplicate_groups,
        "conflicts": audit.conflicts,
        "pairs": [asdict(pair) for pair in audit.pairs],
        "findings": [asdict(finding) for finding in audit.findings],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_table(audit: Audit) -> str:
    """One row for each scan."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for finding in audit.findings:
        for name in finding.sample_ids:
            if finding.kind not in kinds[name]:
                kinds[name].append(finding.kind)
    conflicted = {name for group in audit.conflicts for name in group}
    rows: list[list[str]] = []
    for sample in audit.samples:
        conflict = "yes" if sample.id in conflicted else ""
        rows.append([sample.id, sample.label or "", audit.groups.get(sample.id, ""), conflict, "; ".join(kinds[sample.id])])
    return csv_text(["id", "label", "group", "conflict", "findings"], rows)
