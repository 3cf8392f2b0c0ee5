"""Figures of a report, and the scans of its gallery: best, median and worst Dice, false lesions, wrong classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.corruptions import CORRUPTIONS
from bcdseg.evaluation.measures.measure import UNITS, shown
from bcdseg.evaluation.measures.subgroups import SubgroupAnalysis
from bcdseg.evaluation.plots.charts import ForestPanel, confusion_figure, dice_figure, forest_figure, picture_figure, size_figure
from bcdseg.evaluation.plots.curves import (
    bland_altman_figure,
    decision_figure,
    froc_figure,
    precision_recall_figure,
    reliability_figure,
    risk_figure,
    robustness_figure,
    roc_figure,
)
from bcdseg.evaluation.plots.style import figure_bytes
from bcdseg.evaluation.report.blocks import Picture
from bcdseg.evaluation.results_table import Cases
from bcdseg.messages import counted, percent
from bcdseg.types import Mask, Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.results import Evaluation
    from bcdseg.evaluation.robustness import Robustness

KINDS = {
    "worst": "Lowest Dice; of equals the largest lesions first.",
    "median": "Around the median Dice.",
    "best": "Highest Dice.",
    "false lesion": "A lesion is outlined in a scan without one.",
    "confidently wrong": "The predicted class is not the true one, the most confident first.",
}


@dataclass(frozen=True, eq=False)
class GalleryItem:
    """One scan of the gallery.

    Attributes:
        id: Id of the scan.
        kind: Reason for its selection: one of ``KINDS``.
        at: Row of the scan in the results table.
        image: Pixels of the scan.
        truth: True mask, or None.
        predicted: Predicted mask, or None.
        heatmap: Grad-CAM heat map of the predicted class, or None.
    """

    id: str
    kind: str
    at: int
    image: Pixels
    truth: Mask | None
    predicted: Mask | None
    heatmap: NDArray[np.float32] | None = None


def choose(cases: Cases, count: int) -> Iterator[tuple[str, int]]:
    """Yield kind and row of the selected scans, up to ``count`` of each kind; no scan is selected twice."""
    shown: set[int] = set()
    for kind, rows in _ranked(cases, count).items():
        fresh = [row for row in rows if row not in shown][:count]
        shown.update(fresh)
        yield from ((kind, row) for row in fresh)


def _ranked(cases: Cases, count: int) -> dict[str, Sequence[int]]:
    dice, area = cases.outline["dice"], cases.outline["truth_area"]
    lesions = np.flatnonzero(cases.lesion)
    lesions = lesions[np.lexsort((-area[lesions], dice[lesions]))]
    middle = sorted(range(len(lesions)), key=lambda rank: abs(rank - (len(lesions) - 1) / 2))
    false_lesions = np.flatnonzero(cases.clear & (cases.outlined == 1))
    confidence = cases.probabilities.max(axis=1, initial=0.0)
    wrong = np.flatnonzero(cases.has_class & (cases.predicted != cases.labels))
    return {
        "worst": lesions.tolist(),
        "best": lesions[::-1].tolist() if len(lesions) > count else [],
        "median": [int(lesions[rank]) for rank in middle] if len(lesions) > 2 * count else [],
        "false lesion": false_lesions.tolist(),
        "confidently wrong": wrong[np.argsort(-confidence[wrong], kind="stable")].tolist(),
    }


MOST_PANELS = 4  # measures in one forest plot


def drawn(name: str, figure: Figure, title: str, caption: str, alt: str, *, wide: bool = False) -> Picture:
    """Return a figure as a block of the report, with PNG and SVG content."""
    return Picture(name, figure_bytes(figure, "png"), figure_bytes(figure, "svg"), title, caption, alt, wide=wide)


def _band(evaluation: Evaluation, measure: str, *, most: int, of: str = "") -> tuple[int, str]:
    """Return the number of draws of a band and the sentence on it; a measure without an interval has no band."""
    if evaluation.estimates[measure].low is None:
        return 0, ""
    return min(evaluation.draws, most), f" The band is the 95 % interval{of and ' for '}{of}."


def outline_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    """Yield the figures of Dice by class and by lesion size."""
    cases, dice = evaluation.cases, shown(evaluation["dice"], "fraction")
    yield drawn(
        "dice",
        dice_figure(cases),
        "Dice by class",
        "The number of scans by Dice. The dashed line is the median; the scans with Dice 0 are the hatched bar on the left.",
        f"Histograms of the Dice of lesion scans by class; mean over all {dice}.",
    )
    yield drawn(
        "dice-size",
        size_figure(cases),
        "Dice by lesion size",
        "Each mark is a scan. Where the line is low, lesions of that size are segmented worse.",
        "Dice of each lesion scan over the fraction of the scan that the lesion takes, with a running median.",
    )


def detection_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    """Yield the FROC curve."""
    draws, band = _band(evaluation, "froc", most=200)
    yield drawn(
        "froc",
        froc_figure(evaluation.cases, draws=draws, seed=evaluation.seed),
        "FROC curve",
        "The fraction of the lesions that is found over the number of false lesions per scan, when regions of low mask probability "
        f"are left out. The dot is the model's own threshold.{band}",
        "Lesion sensitivity over false lesions per scan.",
    )


def size_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    """Yield a Bland-Altman plot for each size."""
    names = {one.name.removesuffix("_bias"): one for one in evaluation.section("size") if one.name.endswith("_bias")}
    for name, one in names.items():
        title = one.title.partition(",")[0]
        yield drawn(
            f"bland-altman-{name.replace('_', '-')}",
            bland_altman_figure(evaluation.cases, name, UNITS[one.unit].strip()),
            f"{title}: Bland-Altman plot",
            "Each dot is a scan: predicted minus true size over the mean of both. The solid line is the bias, the dashed lines are "
            "the limits of agreement.",
            f"Differences of predicted and true size; bias {shown(evaluation.estimates[one.name], one.unit)}.",
        )


def class_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    """Yield the confusion matrix, the ROC curve and the precision-recall curve."""
    cases, counts = evaluation.cases, evaluation.confusion
    rows = "; ".join(
        f"of {counted(int(row.sum()), f'{name} scan')} "
        + ", ".join(f"{count} predicted {other}" for other, count in zip(cases.classes, row, strict=True))
        for name, row in zip(cases.classes, counts, strict=True)
    )
    yield drawn(
        "confusion",
        confusion_figure(counts, cases.classes),
        "Confusion matrix",
        "A row for each true class: the number of its scans by predicted class, and the fraction. Correct predictions are on the "
        "diagonal.",
        f"Confusion matrix: {rows}.",
    )
    if not any(0 < counts[at].sum() < counts.sum() for at in range(len(counts))):
        return
    banded = cases.positive or cases.classes[-1]
    areas = ", ".join(
        f"{name} {shown(evaluation.estimates[f'roc_auc/{name}'], 'fraction')}"
        for name in cases.classes
        if f"roc_auc/{name}" in evaluation.estimates
    )
    draws, band = _band(evaluation, f"roc_auc/{banded}", most=1000, of=banded)
    yield drawn(
        "roc",
        roc_figure(cases, draws=draws, seed=evaluation.seed),
        "ROC curve: one class against the rest",
        f"Sensitivity over 1 - specificity for all thresholds. The dots are the most probable class.{band}",
        f"ROC curves; areas: {areas}.",
    )
    draws, band = _band(evaluation, f"pr_auc/{banded}", most=1000, of=banded)
    yield drawn(
        "precision-recall",
        precision_recall_figure(cases, draws=draws, seed=evaluation.seed),
        "Precision-recall curve",
        "Precision over sensitivity for all thresholds. Unlike the ROC curve it depends on how common the class is among these "
        f"scans.{band}",
        "Precision over sensitivity for each class.",
    )


def clinical_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    """Yield the decision curve."""
    known = evaluation.cases.labels[evaluation.cases.has_class]
    prevalence = evaluation.prevalence
    common = (
        float((known == evaluation.cases.classes.index(evaluation.cases.positive)).mean()) if evaluation.cases.positive else 0.0
    )
    if not 0 < common < 1:
        return
    at = (
        f"a prevalence of {100 * prevalence:.3g} %"
        if prevalence is not None
        else f"the prevalence of these scans ({percent(common)})"
    )
    draws, band = _band(evaluation, "net_benefit_0.10", most=300)
    yield drawn(
        "decision-curve",
        decision_figure(evaluation.cases, prevalence=prevalence, draws=draws, seed=evaluation.seed),
        "Decision curve",
        "Net benefit over the probability of malignancy from which a biopsy is considered worthwhile. The model helps where its "
        f"curve is above those of a biopsy of all and of none. The curves are for {at}.{band}",
        "Net benefit of the model, of a biopsy of all and of none, over the threshold probability.",
    )


def confidence_pictures(evaluation: Evaluation, least: float | None) -> Iterator[Picture]:
    """Yield the reliability diagram and the risk-coverage curve."""
    error = shown(evaluation["ece"], "fraction")
    yield drawn(
        "reliability",
        reliability_figure(evaluation.reliability),
        "Reliability diagram",
        "For example, 80 % of the predictions with a confidence of 80 % should be correct. Points below the line: the confidence "
        "is too high. Bins with few scans (bars below) are uncertain.",
        f"Reliability diagram; calibration error {error}.",
    )
    draws, band = _band(evaluation, "aurc", most=1000)
    yield drawn(
        "risk-coverage",
        risk_figure(evaluation.cases, least=least, draws=draws, seed=evaluation.seed),
        "Risk-coverage curve",
        "The error rate of the most confident predictions over the fraction of the scans they cover. Where the curve rises to the "
        f"right, low confidence is a useful warning.{band}",
        "Error rate over the fraction of the scans that is predicted.",
    )


def subgroup_picture(evaluation: Evaluation, found: SubgroupAnalysis, fact: str) -> Picture:
    """Return the forest plot of one fact."""
    subgroups = found.of(fact)
    defined = [one for one in found.measures if any(group.estimates[one.name].value is not None for group in subgroups)]
    panels = [
        ForestPanel(
            title=one.title,
            estimates=[group.estimates[one.name] for group in subgroups],
            reference=evaluation.estimates[one.name].value,
            fraction=one.unit == "fraction",
        )
        for one in defined[:MOST_PANELS]
    ]
    names = ["".join(letter if letter.isalnum() else "-" for letter in one) for one in found.facts[: found.facts.index(fact) + 1]]
    same = sum(one.lower() == names[-1].lower() for one in names)  # "age (y)" and "age [y]"
    return drawn(
        f"subgroups-{names[-1]}{f'-{same}' if same > 1 else ''}",
        forest_figure([f"{one.name} (n = {one.n})" for one in subgroups], panels),
        f"Forest plot by {fact}",
        "Squares are values and lines their 95 % intervals; an open square has no interval. Dashed: all scans.",
        f"Values of {', '.join(one.title for one in defined[:MOST_PANELS])} for each subgroup by {fact}.",
        wide=True,
    )


def robustness_pictures(found: Robustness) -> Iterator[Picture]:
    """Yield one figure per corruption."""
    for name in found.degradations:
        kind = CORRUPTIONS[name]
        yield drawn(
            f"robustness-{name}",
            robustness_figure(found, name),
            kind.title,
            f"{kind.why.capitalize()}. Axis: {kind.strength}.",
            f"Measures of masks and of classes over the strength of {name}.",
        )


def gallery_pictures(evaluation: Evaluation, kind: str) -> Iterator[Picture]:
    """Yield the gallery's scans of one kind."""
    for at, scan in enumerate((one for one in evaluation.gallery if one.kind == kind), 1):
        caption = _caption(evaluation, scan)
        content = figure_bytes(picture_figure(scan), "png")
        yield Picture(f"gallery/{kind.replace(' ', '-')}-{at}", content, b"", scan.id, caption, f"{scan.id}: {caption}", small=True)


def _caption(evaluation: Evaluation, scan: GalleryItem) -> str:
    cases, words = evaluation.cases, []
    truth = cases.label(scan.at)
    if cases.has_probabilities[scan.at]:
        predicted = cases.classes[cases.predicted[scan.at]]
        words.append(f"{truth or 'class unknown'}, predicted {predicted} ({percent(cases.probabilities[scan.at].max())})")
    elif truth is not None:
        words.append(truth)
    if cases.lesion[scan.at]:
        words.append(f"Dice {cases.outline['dice'][scan.at]:.2f}")
    return "; ".join(words)
