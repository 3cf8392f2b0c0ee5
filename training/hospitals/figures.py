"""Figures of raw outputs: outlines, presence and class of lesions, calibration; by hospital, with intervals over groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pack import HOSPITALS, Packed
from scipy.ndimage import label as components
from sklearn.metrics import roc_auc_score

from bcdseg.data.masks import dice
from bcdseg.evaluation.metrics import calibration

Numbers = NDArray[np.float64]
MISSED = 0.05  # a lesion whose Dice is below this is missed
DRAWS = 1000


@dataclass(frozen=True)
class Rules:
    """Rules that turn raw outputs into outlines and class probabilities.

    Attributes:
        evidence: Weight of the presence decision by the mask.
        context: Weight of the presence decision by pooled features.
        bias: Added to the presence logit.
        scale: Factor of the logit of malignant against benign.
        shift: Added to that logit.
        mask_threshold: Least probability of a pixel of a lesion.
        presence_threshold: Least probability of a lesion at which an outline is a finding; below it is a candidate.
        min_area: Least area of a component, as a fraction of the square; smaller ones are dropped.
    """

    evidence: float = 0.5
    context: float = 0.5
    bias: float = 0.0
    scale: float = 1.0
    shift: float = 0.0
    mask_threshold: float = 0.5
    presence_threshold: float = 0.5
    min_area: float = 0.0008

    def presence(self, decisions: Numbers) -> Numbers:
        """Return the probability of a lesion."""
        return _sigmoid(decisions[:, 0] * self.evidence + decisions[:, 1] * self.context + self.bias)

    def malignant(self, decisions: Numbers) -> Numbers:
        """Return the probability of malignant, given a lesion."""
        return _sigmoid(decisions[:, 2] * self.scale + self.shift)

    def classes(self, decisions: Numbers) -> Numbers:
        """Return the probabilities of normal, benign and malignant."""
        there, malignant = self.presence(decisions), self.malignant(decisions)
        return np.stack([1 - there, there * (1 - malignant), there * malignant], axis=1)


def _sigmoid(logits: Numbers) -> Numbers:
    value: Numbers = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return value


def outline(mask: NDArray[np.uint8], rules: Rules) -> NDArray[np.bool_]:
    """Return the mask above its threshold, without small components."""
    over = mask >= rules.mask_threshold * 255
    numbered, count = components(over, np.ones((3, 3)))
    if count == 0:
        return over
    areas = np.bincount(numbered.ravel())
    kept: NDArray[np.bool_] = (areas[numbered] >= rules.min_area * mask.size) & over
    return kept


@dataclass(frozen=True)
class Cases:
    """Results of scans.

    Attributes:
        hospital, label, group: Hospital, true class and group of each scan.
        dice: Dice of the whole outline, regardless of the presence decision.
        outlined: Whether the whole outline has any pixel.
        classes: Probabilities of normal, benign and malignant.
        rules: Rules that were applied.
    """

    hospital: NDArray[np.int64]
    label: NDArray[np.int64]
    group: NDArray[np.int64]
    dice: Numbers
    outlined: NDArray[np.bool_]
    classes: Numbers
    rules: Rules

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Cases:
        """Return some of the cases, by a mask or by rows."""
        arrays = {name: value[chosen] for name, value in vars(self).items() if name != "rules"}
        return Cases(**arrays, rules=self.rules)

    @property
    def presence(self) -> Numbers:
        """Probability of a lesion."""
        there: Numbers = 1 - self.classes[:, 0]
        return there

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Whether the outline is shown as a finding."""
        return (self.presence >= self.rules.presence_threshold) & self.outlined


def cases(packed: Packed, rows: NDArray[np.int64], decisions: Numbers, masks: NDArray[np.uint8], rules: Rules) -> Cases:
    """Compare outputs with the truth."""
    outlines = [outline(mask, rules) for mask in masks]
    overlaps = np.array([dice(packed.masks[row], found) for found, row in zip(outlines, rows, strict=True)])
    outlined = np.array([bool(found.any()) for found in outlines])
    facts = packed.hospitals[rows], packed.labels[rows], packed.groups[rows]
    return Cases(*facts, overlaps, outlined, rules.classes(decisions), rules)


Measure = Callable[[Cases], float]


def lesion_dice(some: Cases) -> float:
    """Return the mean Dice over scans with a lesion; an outline that is not shown counts as 0."""
    lesion = some.label > 0
    return float((some.dice * some.shown)[lesion].mean()) if lesion.any() else float("nan")


def candidate_dice(some: Cases) -> float:
    """Return the mean Dice over scans with a lesion, with all outlines, shown or not."""
    lesion = some.label > 0
    return float(some.dice[lesion].mean()) if lesion.any() else float("nan")


def missed(some: Cases) -> float:
    """Return the fraction of lesions with a Dice below 0.05."""
    lesion = some.label > 0
    return float(((some.dice * some.shown)[lesion] < MISSED).mean()) if lesion.any() else float("nan")


def false_lesions(some: Cases) -> float:
    """Return the fraction of normal scans with an outline that is shown."""
    normal = some.label == 0
    return float(some.shown[normal].mean()) if normal.any() else float("nan")


def presence_auc(some: Cases) -> float:
    """Return the ROC-AUC of the presence decision."""
    return _auc(some.label > 0, some.presence)


def malignant_auc(some: Cases) -> float:
    """Return the ROC-AUC of malignant against benign, over scans with a lesion."""
    lesion = some.label > 0
    given = some.classes[lesion, 2] / (some.classes[lesion, 1] + some.classes[lesion, 2])
    return _auc(some.label[lesion] == 2, given)


def malignant_rest_auc(some: Cases) -> float:
    """Return the ROC-AUC of malignant against the rest."""
    return _auc(some.label == 2, some.classes[:, 2])


def sensitivity(some: Cases) -> float:
    """Return the fraction of malignant scans that are predicted malignant."""
    return float((predicted(some)[some.label == 2] == 2).mean()) if (some.label == 2).any() else float("nan")


def specificity(some: Cases) -> float:
    """Return the fraction of benign scans that are not predicted malignant."""
    return float((predicted(some)[some.label == 1] != 2).mean()) if (some.label == 1).any() else float("nan")


def accuracy(some: Cases) -> float:
    """Return the fraction of scans with the right class."""
    return float((predicted(some) == some.label).mean())


def predicted(some: Cases) -> NDArray[np.int64]:
    """Return the most probable class of each scan."""
    return some.classes.argmax(axis=1)


def calibration_error(some: Cases) -> float:
    """Return the expected calibration error of the highest class probability, with ten bins."""
    return float(calibration.calibration_error(predicted(some) == some.label, some.classes.max(axis=1), bins=10)[0])


def _auc(truth: NDArray[np.bool_], score: Numbers) -> float:
    return float(roc_auc_score(truth, score)) if 0 < truth.sum() < len(truth) else float("nan")


MEASURES: dict[str, Measure] = {
    "lesion Dice": lesion_dice,
    "Dice with candidates": candidate_dice,
    "missed lesions": missed,
    "false lesions on normals": false_lesions,
    "presence AUC": presence_auc,
    "malignant/benign AUC": malignant_auc,
    "malignant/rest AUC": malignant_rest_auc,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "accuracy": accuracy,
    "ECE": calibration_error,
}


def interval(some: Cases, measure: Measure, seed: int = 0) -> tuple[float, float, float]:
    """Return a measure and its 95 % bootstrap interval over groups."""
    value = measure(some)
    if not np.isfinite(value):
        return value, value, value
    low, high = np.nanquantile([measure(some.select(rows)) for rows in _draws(some, seed)], [0.025, 0.975])
    return value, float(low), float(high)


def difference(before: Cases, after: Cases, measure: Measure) -> str:
    """Return the change of a measure on the same scans, with its 95 % bootstrap interval over groups."""
    value = measure(after) - measure(before)
    if not np.isfinite(value):
        return "-"
    draws = [measure(after.select(rows)) - measure(before.select(rows)) for rows in _draws(before)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _draws(some: Cases, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each bootstrap draw: as many groups as there are, each with all of its cases."""
    rng = np.random.default_rng(seed)
    groups, members = np.unique(some.group, return_inverse=True)
    rows = [np.flatnonzero(members == number) for number in range(len(groups))]
    for _ in range(DRAWS):
        yield np.concatenate([rows[number] for number in rng.integers(len(groups), size=len(groups))])


def table(by_name: dict[str, Cases], *, intervals: bool = False) -> str:
    """Return a Markdown table with one column per set of cases."""
    lines = ["| | " + " | ".join(by_name) + " |", "|---" * (len(by_name) + 1) + "|"]
    lines.append("| scans | " + " | ".join(str(len(some.label)) for some in by_name.values()) + " |")
    for name, measure in MEASURES.items():
        cells = []
        for some in by_name.values():
            value, low, high = interval(some, measure) if intervals else (measure(some),) * 3
            cells.append("-" if not np.isfinite(value) else f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if intervals else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_hospital(some: Cases) -> dict[str, Cases]:
    """Return the cases of each hospital that has any."""
    return {name: some.select(some.hospital == number) for number, name in enumerate(HOSPITALS) if (some.hospital == number).any()}
