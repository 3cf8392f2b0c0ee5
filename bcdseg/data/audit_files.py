"""An audit on disk: a table, everything as JSON, and a page."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.errors import OutputExistsError

if TYPE_CHECKING:
    from bcdseg.data.audit import Audit

NAMES = ("audit.json", "audit.csv", "index.html")


def save(audit: Audit, folder: Path, overwrite: bool) -> Path:
    """Write the three files, each whole or not at all, and give the page's path."""
    from bcdseg.data.audit_page import page

    refuse_existing(folder, overwrite)
    contents = dict(zip(NAMES, (as_json(audit), as_table(audit), page(audit)), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    try:
        for name, content in contents.items():
            handle, part = tempfile.mkstemp(dir=folder, prefix=name, suffix=".part")
            written[name] = Path(part)
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(content)
        for name, whole in written.items():
            whole.chmod(0o644)
            whole.replace(folder / name)
    finally:
        for part_file in written.values():
            part_file.unlink(missing_ok=True)
    return folder / "index.html"


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raise when an audit is there already and may not be replaced."""
    there = [name for name in NAMES if (folder / name).exists()]
    if there and not overwrite:
        raise OutputExistsError(f"{folder}: holds {', '.join(there)} already. Choose another folder, or set overwrite.")


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
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "label", "group", "conflict", "findings"])
    for sample in audit.samples:
        conflict = "yes" if sample.id in conflicted else ""
        writer.writerow([sample.id, sample.label or "", audit.groups.get(sample.id, ""), conflict, "; ".join(kinds[sample.id])])
    return out.getvalue()
