"""Content of a report, section by section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bcdseg.evaluation.measures.clinical import THRESHOLDS
from bcdseg.evaluation.measures.intervals import FEWEST_GROUPS
from bcdseg.evaluation.model_comparison import NO_VARIANCE
from bcdseg.evaluation.report import figures, tables
from bcdseg.evaluation.report.blocks import Block, Document, Pictures, Points, Section, Text
from bcdseg.evaluation.report.figures import KINDS
from bcdseg.evaluation.training_overlap import OVERLAP
from bcdseg.messages import counted, percent
from bcdseg.model.saving import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.measures.measure import Estimate
    from bcdseg.evaluation.measures.subgroups import SubgroupAnalysis
    from bcdseg.evaluation.model_comparison import Comparison
    from bcdseg.evaluation.results import Evaluation

LEGEND = "Solid blue: the true outline. Dashed yellow: the predicted outline."
HEAT = (
    " Where two pictures are side by side, the right one shows in colour which regions raised the score of the predicted class "
    "(Grad-CAM). It is a coarse hint, no outline, and no evidence that the model used the right region: maps of wrong predictions "
    "are as convincing."
)


def report_of(evaluation: Evaluation, comparisons: Sequence[Comparison] = (), training_curves: Figure | None = None) -> Document:
    """Return the report of an evaluation."""
    count = f"{counted(len(evaluation.cases), 'scan')} in {counted(len(set(evaluation.cases.groups)), 'group')}"
    return Document(
        title=f"Evaluation of {evaluation.model} on {evaluation.dataset}",
        subtitle=f"{count}. {DISCLAIMER}",
        warnings=tuple(_warnings(evaluation)),
        sections=tuple(_sections(evaluation, comparisons, training_curves)),
        others=(("Every scan", "cases.html"),),
    )


def _sections(evaluation: Evaluation, comparisons: Sequence[Comparison], training_curves: Figure | None) -> Iterator[Section]:
    yield Section("Summary", tuple(_summary(evaluation)))
    for comparison in comparisons:
        yield Section(f"Comparison with {comparison.first}", tuple(_comparison(evaluation, comparison)))
    if evaluation.cases.has_mask.any():
        yield Section("Segmentation", tuple(_segmentation(evaluation)))
        yield Section("Lesion detection", tuple(_detection(evaluation)))
    if evaluation.section("size"):
        yield Section("Lesion size", tuple(_size(evaluation)))
    if evaluation.cases.has_class.any():
        yield Section("Classification", tuple(_classification(evaluation)))
    if evaluation.section("clinical"):
        yield Section("Clinical utility", tuple(_clinical(evaluation)))
    if evaluation.cases.has_class.any():
        yield Section("Calibration", tuple(_calibration(evaluation)))
    if evaluation.section("both"):
        yield Section("Agreement of mask and class", (tables.measure_table(evaluation, evaluation.section("both")),))
    if evaluation.section("custom"):
        yield Section("User-defined metrics", (tables.measure_table(evaluation, evaluation.section("custom")),))
    if evaluation.subgroups is not None:
        yield Section("Subgroups", tuple(_subgroups(evaluation.subgroups, evaluation)))
    if evaluation.robustness is not None:
        yield Section("Robustness", tuple(_robustness(evaluation)))
    if evaluation.gallery:
        yield Section("Example scans", tuple(_gallery(evaluation)))
    yield Section("Data and methods", tuple(_methods(evaluation, training_curves)))
    yield Section("Interpretation", (Points(tuple(_interpretation(evaluation))),))


def _warnings(evaluation: Evaluation) -> Iterator[Text]:
    if "training" in evaluation.about:
        yield Text(str(evaluation.about["training"]), "warning")
    if evaluation.training_overlap != "none":
        yield Text(OVERLAP[evaluation.training_overlap], "warning")
    probabilities = evaluation.cases.probabilities[evaluation.cases.has_class]
    if len(probabilities) and np.isin(probabilities, (0, 1)).all():
        yield Text(
            "All predicted probabilities are 0 or 1, as of predictions that only name a class: areas under curves, calibration and "
            "net benefit are those of these numbers, and say nothing about a ranking of the scans.",
            "warning",
        )
    if evaluation.problems:
        yield Text(
            f"The evaluation leaves out {counted(len(evaluation.problems), 'scan')} that could not be read; see the list below.",
            "warning",
        )


def _summary(evaluation: Evaluation) -> Iterator[Block]:
    yield tables.measure_table(evaluation, evaluation.headlines)
    yield Text("Values of 0 to 1 are fractions: 0.85 is 85 of 100. The interval shows how uncertain a value is.", "soft")


def _comparison(evaluation: Evaluation, found: Comparison) -> Iterator[Block]:
    names = [one.name for one in evaluation.headlines if one.name in found.differences]
    if found.shared:
        classes = ", ".join(found.shared)
        yield Text(
            "The models have different classes. They are compared on those that both have: "
            f"{classes} ({counted(found.scans, 'scan')})."
        )
    yield Text(
        f"Both models predicted the same scans. The difference is {found.second} minus {found.first}, and its interval comes from "
        "drawing the same groups for both. Where the interval contains 0, no difference is shown."
        + _by_chance([found.differences[name].difference for name in names])
    )
    yield tables.comparison_table(found, names)
    if found.auc_tests:
        yield Text(
            "The same areas under the ROC curve by DeLong's test, where scans of one patient or group of copies count as dependent "
            "(Obuchowski). Below each p-value is the one after Holm's correction for the number of classes."
        )
        yield tables.auc_test_table(found)
    if found.not_tested:
        yield Text(f"DeLong's test can't be computed for {', '.join(found.not_tested)}: {NO_VARIANCE}.", "soft")


def _by_chance(differences: Sequence[Estimate]) -> str:
    """Return a sentence on how many of the intervals are expected to be wrong; empty without intervals."""
    intervals = sum(one.low is not None for one in differences)
    if not intervals:
        return ""
    return (
        f" One interval in twenty misses the true difference by chance, and here are {intervals} without adjustment: a single one "
        "that excludes 0 proves little."
    )


def _segmentation(evaluation: Evaluation) -> Iterator[Block]:
    yield Text(
        "Over scans with a lesion. A scan in which nothing is outlined is never left out: it counts with Dice 0 and with the "
        "image's diagonal as its distance. Scans without a lesion are in the next section."
    )
    if evaluation.cases.lesion.any():
        yield tables.measure_table(evaluation, [one for one in evaluation.section("segmentation") if "/" not in one.name])
        yield Pictures(tuple(figures.outline_pictures(evaluation)))
        yield tables.subset_table(evaluation, tables.class_names(evaluation), "By class")
        yield tables.subset_table(evaluation, tables.size_names(evaluation), "By lesion size")
        yield Text("The distribution over the scans, which is not an interval: half of them are between the quartiles.", "soft")
        yield tables.spread_table(evaluation)
    else:
        yield Text("None of these scans has a lesion, so there are no measures of segmentation.", "warning")


def _detection(evaluation: Evaluation) -> Iterator[Block]:
    yield tables.measure_table(evaluation, evaluation.section("detection"))
    if evaluation.cases.has_regions and evaluation.cases.lesion.any():
        yield Pictures(tuple(figures.detection_pictures(evaluation)))


def _size(evaluation: Evaluation) -> Iterator[Block]:
    yield Text(
        "The long axis and the area of the largest predicted region, compared with those of the largest lesion. 95 % of the "
        "differences are expected between the limits of agreement (Bland and Altman)."
    )
    yield tables.measure_table(evaluation, evaluation.section("size"))
    yield Pictures(tuple(figures.size_pictures(evaluation)))


def _classification(evaluation: Evaluation) -> Iterator[Block]:
    missing = [name for name, count in evaluation.counts.items() if not count]
    if missing:
        yield Text(f"None of these scans is {' or '.join(missing)}: measures that need such scans have no value.", "warning")
    whole = [one for one in evaluation.section("classification") if not _of_one_class(one.name)]
    yield tables.measure_table(evaluation, whole)
    yield tables.class_table(evaluation)
    yield Text(
        "Sensitivity: the fraction of the scans of the class predicted as it. Precision: the fraction of the scans predicted as "
        "the class that are of it. Specificity: the fraction of the other scans not predicted as it. F1: the harmonic mean of "
        "sensitivity and precision. ROC-AUC: the probability that a scan of the class gets a higher probability of it than another "
        "scan (0.5 is chance). PR-AUC: the mean precision over all thresholds (chance is the fraction of the class). Calibration "
        "error: see below.",
        "soft",
    )
    yield Pictures(tuple(figures.class_pictures(evaluation)))


def _of_one_class(name: str) -> bool:
    kind, _, rest = name.partition("/")
    return bool(rest) and (kind in tables.OF_CLASS) and "-" not in rest


def _clinical(evaluation: Evaluation) -> Iterator[Block]:
    thresholds = ", ".join(percent(value) for value in THRESHOLDS)
    yield Text(
        "Predictive values and net benefit depend on how common the positive class is. Those without a stated prevalence are for "
        "the fraction of positive scans in this data set, which is rarely that of a clinic: state a prevalence to compare. The "
        f"thresholds {thresholds} are the probabilities of malignancy at which BI-RADS 4A, 4B and 4C start."
    )
    yield tables.measure_table(evaluation, evaluation.section("clinical"))
    pictures = tuple(figures.clinical_pictures(evaluation))
    if pictures:
        yield Pictures(pictures)


def _calibration(evaluation: Evaluation) -> Iterator[Block]:
    yield tables.measure_table(evaluation, [one for one in evaluation.section("calibration") if "/" not in one.name])
    yield Pictures(tuple(figures.confidence_pictures(evaluation, evaluation.min_confidence)))


def _subgroups(found: SubgroupAnalysis, evaluation: Evaluation) -> Iterator[Block]:
    yield Text(
        "Each subgroup is compared with all other scans whose fact is known, on the same bootstrap draws of whole groups. A "
        "subgroup can also differ because it has other classes or lesion sizes. Values of fewer than "
        f"{FEWEST_GROUPS} groups have no interval."
        + _by_chance([one for subgroup in found.subgroups for one in subgroup.differences.values()])
    )
    for fact in found.facts:
        unknown = found.unknown[fact]
        yield Pictures((figures.subgroup_picture(evaluation, found, fact),), f"By {fact}", _worst(found, fact))
        yield tables.subgroup_table(found, fact)
        yield tables.subgroup_difference_table(found, fact)
        if unknown:
            yield Text(f"Scans without a known {fact}, in none of these subgroups: {unknown}.", "soft")


def _worst(found: SubgroupAnalysis, fact: str) -> str:
    sentences = []
    for one in found.measures:
        worst = found.worst(fact, one.name)
        if worst is not None:
            sentences.append(f"{one.title}: {worst.name}")
    return f"Worst subgroups: {'; '.join(sentences)}." if sentences else "No two subgroups have enough groups for an interval."


def _robustness(evaluation: Evaluation) -> Iterator[Block]:
    assert evaluation.robustness is not None
    yield Text(
        "The same scans, corrupted at several strengths. Where a curve falls early, the model depends on what gets lost; where "
        "painted calipers or text change a measure, the model uses marks instead of tissue. The bands are 95 % intervals."
    )
    yield Pictures(tuple(figures.robustness_pictures(evaluation.robustness)))
    yield tables.robustness_table(evaluation.robustness)
    yield Text(
        "The differences from the original scans. Both are measured on the same draws of the same scans, so these intervals are "
        "narrower than those above: where one does not contain 0, the change is hardly chance."
    )
    yield tables.change_table(evaluation.robustness)


def _gallery(evaluation: Evaluation) -> Iterator[Block]:
    explained = any(one.heatmap is not None for one in evaluation.gallery)
    yield Text(LEGEND + (HEAT if explained else ""))
    for kind, description in KINDS.items():
        pictures = tuple(figures.gallery_pictures(evaluation, kind))
        if pictures:
            yield Pictures(pictures, kind.capitalize(), description)


def _methods(evaluation: Evaluation, training_curves: Figure | None) -> Iterator[Block]:
    cases, groups = evaluation.cases, Counter(evaluation.cases.groups)
    facts = {
        "data set": evaluation.dataset,
        "scans": len(cases),
        "groups": f"{len(groups)}, the largest of {counted(max(groups.values()), 'scan')}",
        "classes": evaluation.counts or "none predicted",
        "true mask known": f"{counted(cases.has_mask.sum(), 'scan')}; "
        f"{cases.lesion.sum()} with a lesion, {cases.clear.sum()} without"
        if cases.predicts_masks
        else "not compared: no masks are predicted",
        "pixel size known": counted((cases.spacing > 0).all(axis=1).sum(), "scan"),
        "overlap with training": OVERLAP[evaluation.training_overlap],
        "intervals": f"{evaluation.draws} draws, seed {evaluation.seed}",
    }
    yield tables.fact_table(facts, "Scans")
    yield tables.fact_table({"name": evaluation.model, **evaluation.about}, "Model")
    if training_curves is not None:
        caption = "Losses and measures of each epoch of the model's training run, on its training and validation scans."
        drawn = figures.drawn("training", training_curves, "Training curves", caption, "Losses and measures over the epochs.")
        yield Pictures((drawn,))
    if evaluation.problems:
        yield Text("Left out, because they could not be read:")
        yield Points(evaluation.problems)


def _interpretation(evaluation: Evaluation) -> Iterator[str]:
    groups = Counter(evaluation.cases.groups)
    yield (
        "The 95 % interval describes how a value would vary with other patients like these. It comes from a bootstrap of whole "
        "groups of scans (a patient, or copies of one scan). Measures of fewer than "
        f"{FEWEST_GROUPS} groups have no interval."
    )
    if max(groups.values()) > 1:
        yield "Every scan counts once in a mean, so a group of several scans counts several times."
    else:
        yield (
            "Each scan is a group of its own: no groups are known. If several scans are of one patient, the true intervals are "
            "wider than these; bcdseg.split finds copies, and a data set can name its patients."
        )
    yield (
        "The overlap with training data is checked by exact copies, by fingerprints, which find copies that were scaled, mirrored "
        "or saved with loss, and by groups. Cropped copies are not found; bcdseg.split, before training, keeps them in one part."
    )
    yield (
        "The results apply to scans like these: the same hospital, scanners and selection of patients. Elsewhere expect worse, "
        "and evaluate again. The frequency of each class here affects accuracy, precision and calibration."
    )
    yield "Thresholds that are the best on these scans were chosen on the scans themselves, so their values are slightly too high."
    yield (
        "The true masks and classes are made by people, who disagree with each other; no measure here can be better than they are."
    )
    yield DISCLAIMER
