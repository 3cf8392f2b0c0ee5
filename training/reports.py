"""The figures of a report that are told of a network, as text."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from bcdseg.evaluation.measures.measure import Estimate
from bcdseg.evaluation.report.numbers import shown

TOLD = (
    "dice",
    "dice/median",
    "dice/benign",
    "dice/malignant",
    "lesion_sensitivity",
    "missed_scan_rate",
    "false_lesion_rate",
    "accuracy",
    "balanced_accuracy",
    "class_recall/normal",
    "class_recall/benign",
    "class_recall/malignant",
    "roc_auc/malignant",
    "roc_auc/malignant-benign",
    "specificity_at_0.95",
    "ece",
    "contradiction_rate",
)
"""Names of measures."""


def figures(report: Path) -> dict[str, str]:
    """Titles and values with their intervals, from a ``report.json``."""
    measures = {one["name"]: one for one in json.loads(report.read_text(encoding="utf-8"))["measures"]}
    chosen = {name: measures[name] for name in TOLD}
    names = [field.name for field in fields(Estimate)]
    return {one["title"]: shown(Estimate(**{name: one[name] for name in names}), one["unit"]) for one in chosen.values()}
