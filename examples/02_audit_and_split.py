"""Audit a data set, apply the audit, and split the data so that copies of a scan stay in one part.

python examples/02_audit_and_split.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import bcdseg

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "data" / "sample"

data = bcdseg.open_dataset(folder)
print(data)

audit = bcdseg.audit(data)
print(f"{len(audit.duplicate_groups)} groups of near-duplicates, {len(audit.conflicts)} of them under two labels")
for finding in audit.findings:
    print(f"  {finding.kind}, {finding.sample_ids[0] if finding.sample_ids else data.name}: {finding.message}")
print("the page to look at:", audit.save("example-output/audit", overwrite=True))

split = bcdseg.split(data.apply_audit(audit), (0.6, 0.2, 0.2), seed=0)
print(split)
split.save("example-output/split.json", overwrite=True)
