"""Figures of a report that describe a network, as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bcdseg.evaluation.measures.measure import Estimate, shown

REPORTED = (
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


def figures(report: Path, names: Sequence[str] = REPORTED) -> dict[str, str]:
    """Return titles and values with their intervals from a ``report.json``."""
    measures = {one["name"]: one for one in json.loads(report.read_text(encoding="utf-8"))["measures"]}
    return {measures[name]["title"]: _shown(measures[name]) for name in names}


def _shown(estimate: dict[str, Any]) -> str:
    return shown(Estimate(**{field.name: estimate[field.name] for field in fields(Estimate)}), estimate["unit"])
