"""Made tables of cases: scans of three classes, some with lesions, a model that is right more often than not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bcdseg.evaluation.metrics.outline import score_mask
from bcdseg.evaluation.results_table import Case, Cases, table_of

CLASSES = ("normal", "benign", "malignant")


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    row, column = np.mgrid[: size[0], : size[1]]
    return (row - centre[0]) ** 2 + (column - centre[1]) ** 2 < radius**2


def made_case(seed: int, *, skill: float = 1.0, label: str | None = None, group: str | None = None) -> Case:
    """Return the results of a scan for a model of some skill."""
    random = np.random.default_rng(seed)
    label = label or CLASSES[random.integers(3)]
    size = (48, 64)
    centre, radius = random.uniform(16, 32, 2), random.uniform(3, 12)
    truth = disc(size, (centre[0], centre[1] + 8), radius) & (label != "normal")
    shift = random.normal(0, 2, 2)
    outlined = (label != "normal") if random.random() < 0.9 else (label == "normal")
    predicted = disc(size, (centre[0] + shift[0], centre[1] + 8 + shift[1]), radius * random.uniform(0.7, 1.2)) & outlined
    logits = random.normal(size=3) + skill * np.eye(3)[CLASSES.index(label)]
    shares = np.exp(logits) / np.exp(logits).sum()
    return Case(
        id=f"{label}/{seed}.png",
        group=group,
        label=label,
        probabilities=tuple(shares),
        logits=tuple(logits),
        outlined=bool(predicted.any()),
        outline=score_mask(truth, predicted),
        size=size,
    )


def made_table(scans: int = 120, *, skill: float = 1.0, per_group: int = 1, seed: int = 0) -> Cases:
    cases = [made_case(seed * 100_000 + number, skill=skill) for number in range(scans)]
    groups = [case if per_group == 1 else replace(case, group=f"patient {at // per_group}") for at, case in enumerate(cases)]
    return table_of(groups, classes=CLASSES, no_lesion="normal")
