"""Figures of a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bcdseg.evaluation.corruptions import CORRUPTIONS
from bcdseg.evaluation.plots.calibration import reliability_figure, risk_figure
from bcdseg.evaluation.plots.confusion import confusion_figure
from bcdseg.evaluation.plots.dice import dice_figure, size_figure
from bcdseg.evaluation.plots.outlines import picture_figure
from bcdseg.evaluation.plots.ranking import precision_recall_figure, robustness_figure, roc_figure
from bcdseg.evaluation.plots.style import figure_bytes
from bcdseg.evaluation.report.blocks import Picture, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.gallery import GalleryItem as Scan
    from bcdseg.evaluation.results import Evaluation
    from bcdseg.evaluation.robustness import Robustness


def drawn(name: str, figure: Figure, title: str, says: str, alt: str) -> Picture:
    """Return a figure as a block of the report, with PNG and SVG content."""
    return Picture(name, figure_bytes(figure, "png"), figure_bytes(figure, "svg"), title, says, alt)


def outline_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    """Yield the figures of Dice by class and by lesion size."""
    cases, dice = evaluation.cases, shown(evaluation["dice"], "share")
    yield drawn(
        "dice",
        dice_figure(cases),
        "Dice by class",
        "How many scans have which Dice. The dashed line is the median; lesions that were missed stand hatched on the left.",
        f"Histograms of the Dice of lesion scans by class; mean over all {dice}.",
    )
    yield drawn(
        "dice-size",
        size_figure(cases),
        "Dice and size",
        "Each mark is a scan. Where the line falls, lesions of that size are outlined worse.",
        "Dice of each lesion scan over the share of the scan that the lesion takes, with a running median.",
    )


def class_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    """Yield the confusion matrix, the ROC curve and the precision-recall curve."""
    cases, options = evaluation.cases, {"draws": min(evaluation.draws, 1000), "seed": evaluation.seed}
    counts = evaluation.confusion
    rows = "; ".join(
        f"of {row.sum()} {name} scans "
        + ", ".join(f"{count} called {other}" for other, count in zip(cases.classes, row, strict=True))
        for name, row in zip(cases.classes, counts, strict=True)
    )
    yield drawn(
        "confusion",
        confusion_figure(counts, cases.classes),
        "Confusion matrix",
        "A row for each true class: how many of its scans were called what, and the share. Right answers lie on the diagonal.",
        f"Confusion matrix: {rows}.",
    )
    if not any(0 < counts[at].sum() < counts.sum() for at in range(len(counts))):
        return
    banded = cases.positive or cases.classes[-1]
    areas = ", ".join(
        f"{name} {shown(evaluation.estimates[f'roc_auc/{name}'], 'share')}"
        for name in cases.classes
        if f"roc_auc/{name}" in evaluation.estimates
    )
    yield drawn(
        "roc",
        roc_figure(cases, **options),
        "ROC: a class against the rest",
        "How many scans of a class are found (up) at the price of how many others called so (right), over all thresholds. "
        f"The dots are where the class is the most probable one. The band is the 95 % interval for {banded}.",
        f"ROC curves; areas: {areas}.",
    )
    yield drawn(
        "precision-recall",
        precision_recall_figure(cases, **options),
        "Precision and sensitivity",
        "Of the scans called so, the share that is, against the share of the class that is found. Unlike the ROC it depends on how "
        f"common the class is among these scans. The band is the 95 % interval for {banded}.",
        "Precision over sensitivity for each class.",
    )


def confidence_pictures(evaluation: Evaluation, least: float | None) -> Iterator[Picture]:
    """Yield the reliability diagram and the risk-coverage curve."""
    error = shown(evaluation["ece"], "share")
    yield drawn(
        "reliability",
        reliability_figure(evaluation.reliability),
        "Reliability diagram",
        "Of the answers given with a confidence of, say, 80 %, 80 % should be right. Points below the line: too sure of itself. "
        "Bins with few scans (bars below) say little.",
        f"Reliability diagram; calibration error {error}.",
    )
    yield drawn(
        "risk-coverage",
        risk_figure(evaluation.cases, least=least, draws=min(evaluation.draws, 1000), seed=evaluation.seed),
        "Risk-coverage curve",
        "The error rate among the scans with the highest confidence, over how many of them are answered. A curve that rises to the "
        "right means that low confidence is a warning worth heeding. The band is the 95 % interval.",
        "Error rate over the share of scans that is answered.",
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
            f"Measures of outlines and of classes over the strength of {name}.",
        )


def gallery_pictures(evaluation: Evaluation, kind: str) -> Iterator[Picture]:
    """Yield the gallery's scans of one kind."""
    for at, scan in enumerate((one for one in evaluation.gallery if one.kind == kind), 1):
        said = _said(evaluation, scan)
        content = figure_bytes(picture_figure(scan), "png")
        yield Picture(f"gallery/{kind.replace(' ', '-')}-{at}", content, b"", scan.id, said, f"{scan.id}: {said}", small=True)


def _said(evaluation: Evaluation, scan: Scan) -> str:
    cases, words = evaluation.cases, []
    truth = cases.label(scan.at)
    if cases.has_probabilities[scan.at]:
        called = cases.classes[cases.called[scan.at]]
        words.append(f"{truth or 'class unknown'}, called {called} ({cases.probabilities[scan.at].max():.0%})")
    elif truth is not None:
        words.append(truth)
    if cases.lesion[scan.at]:
        words.append(f"Dice {cases.outline['dice'][scan.at]:.2f}")
    return "; ".join(words)
