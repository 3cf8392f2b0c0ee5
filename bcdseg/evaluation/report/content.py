"""Content of a report, section by section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bcdseg.evaluation.gallery import KINDS
from bcdseg.evaluation.measures.intervals import FEWEST_GROUPS
from bcdseg.evaluation.report import figures, tables
from bcdseg.evaluation.report.blocks import Block, Pictures, Points, Section, Text
from bcdseg.evaluation.training_overlap import SEEN
from bcdseg.model.card import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.results import Comparison, Evaluation

LEGEND = "Solid blue: the true outline. Dashed yellow: the predicted one."
HEAT = (
    " Where two pictures stand side by side, the right one shows in colour where the called class's score came from (Grad-CAM). "
    "It is a coarse hint, no outline, and no evidence that the model looked at the right thing: maps of wrong answers look as good."
)


def sections(
    evaluation: Evaluation, comparisons: Sequence[Comparison] = (), training_curves: Figure | None = None
) -> Iterator[Section]:
    """Yield the sections of a report, in order."""
    yield Section("Summary", tuple(_short(evaluation)))
    for comparison in comparisons:
        yield Section(f"Compared with {comparison.first}", tuple(_comparison(evaluation, comparison)))
    if evaluation.cases.has_mask.any():
        yield Section("Segmentation", tuple(_outlines(evaluation)))
        yield Section("Lesion detection", tuple(_found(evaluation)))
    if evaluation.cases.has_class.any():
        yield Section("Classification", tuple(_classes(evaluation)))
        yield Section("Calibration", tuple(_calibration(evaluation)))
    both = [one for one in evaluation.measures if one.section == "both"]
    if both:
        yield Section("Agreement of outline and class", (tables.measure_table(evaluation, both),))
    if evaluation.robustness is not None:
        yield Section("Robustness", tuple(_robustness(evaluation)))
    if evaluation.gallery:
        yield Section("Example scans", tuple(_gallery(evaluation)))
    yield Section("Data and methods", tuple(_measured_on(evaluation, training_curves)))
    yield Section("Reading the figures", (Points(tuple(_reading(evaluation))),))


def warnings(evaluation: Evaluation) -> Iterator[Text]:
    """Yield the warnings that a reader needs before any result."""
    if "training" in evaluation.about:
        yield Text(str(evaluation.about["training"]), "warning")
    if evaluation.seen != "unseen":
        yield Text(SEEN[evaluation.seen], "warning")
    if evaluation.problems:
        yield Text(f"{len(evaluation.problems)} scans could not be read and were left out; they are listed below.", "warning")


def _short(evaluation: Evaluation) -> Iterator[Block]:
    yield tables.measure_table(evaluation, evaluation.headlines)
    yield Text(
        "Values of 0 to 1 are shares: 0.85 is 85 of 100. The interval tells how far off the value may be; read it first.", "soft"
    )


def _comparison(evaluation: Evaluation, found: Comparison) -> Iterator[Block]:
    names = [one.name for one in evaluation.headlines if one.name in found.differences]
    yield Text(
        f"Both models answered the same scans. The difference is {found.second} minus {found.first}; its interval comes from "
        "drawing the same groups for both. An interval that holds 0 can't tell them apart. Of many measures, some differ by chance."
    )
    yield tables.comparison_table(found, names)


def _outlines(evaluation: Evaluation) -> Iterator[Block]:
    yield Text(
        "Of scans that have a lesion. A lesion that is missed altogether is never left out: it counts with Dice 0 and with the "
        "image's whole diagonal as its distance. Scans without a lesion are reported in the next section."
    )
    if evaluation.cases.lesion.any():
        yield tables.measure_table(
            evaluation, [one for one in evaluation.measures if one.section == "segmentation" and "/" not in one.name]
        )
        yield Pictures(tuple(figures.outline_pictures(evaluation)))
        yield tables.subset_table(evaluation, tables.class_names(evaluation), "By class")
        yield tables.subset_table(evaluation, tables.size_names(evaluation), "By size of the lesion")
        yield Text("The spread over the scans, which is no interval: half of them lie between the quartiles.", "soft")
        yield tables.spread_table(evaluation)
    else:
        yield Text("None of these scans has a lesion, so there is nothing to say of outlines.", "warning")


def _found(evaluation: Evaluation) -> Iterator[Block]:
    yield tables.measure_table(evaluation, [one for one in evaluation.measures if one.section == "detection"])


def _classes(evaluation: Evaluation) -> Iterator[Block]:
    missing = [name for name, count in evaluation.counts.items() if not count]
    if missing:
        yield Text(f"No scan of these is {' or '.join(missing)}: what would need one is not defined, and said so.", "warning")
    whole = [one for one in evaluation.measures if one.section == "classification" and not _of_one_class(one.name)]
    yield tables.measure_table(evaluation, whole)
    yield tables.class_table(evaluation)
    yield Text(
        "Sensitivity: of the scans of the class, the share called so. Precision: of the scans called so, the share that is. "
        "Specificity: of the other scans, the share not called so. F1: the harmonic mean of sensitivity and precision. "
        "ROC-AUC: the probability that a scan of the class gets a higher probability of it than another scan (0.5 is chance). "
        "PR-AUC: the mean precision over all thresholds (chance is the share of the class). Calibration error: see below.",
        "soft",
    )
    yield Pictures(tuple(figures.class_pictures(evaluation)))


def _of_one_class(name: str) -> bool:
    kind, _, rest = name.partition("/")
    return bool(rest) and (kind in tables.OF_CLASS) and "-" not in rest


def _calibration(evaluation: Evaluation) -> Iterator[Block]:
    shown = [one for one in evaluation.measures if one.section == "calibration" and "/" not in one.name]
    yield tables.measure_table(evaluation, shown)
    yield Pictures(tuple(figures.confidence_pictures(evaluation, evaluation.min_confidence)))


def _robustness(evaluation: Evaluation) -> Iterator[Block]:
    assert evaluation.robustness is not None
    yield Text(
        "The same scans, made worse on purpose, some more and some less. Where a curve falls early the model leans on what gets "
        "lost; where painted calipers or text move a figure, it reads marks instead of tissue. The bands are 95 % intervals."
    )
    yield Pictures(tuple(figures.robustness_pictures(evaluation.robustness)))
    yield tables.robustness_table(evaluation.robustness)
    yield Text(
        "How far each figure is from that of the scans as they are. Both are measured on the same draws of the same scans, so "
        "these intervals are narrower than those above: where one does not hold 0, the change is hardly chance."
    )
    yield tables.change_table(evaluation.robustness)


def _gallery(evaluation: Evaluation) -> Iterator[Block]:
    explained = any(one.heatmap is not None for one in evaluation.gallery)
    yield Text(LEGEND + (HEAT if explained else ""))
    for kind, says in KINDS.items():
        pictures = tuple(figures.gallery_pictures(evaluation, kind))
        if pictures:
            yield Pictures(pictures, kind.capitalize(), says)


def _measured_on(evaluation: Evaluation, training_curves: Figure | None) -> Iterator[Block]:
    cases, groups = evaluation.cases, Counter(evaluation.cases.groups)
    facts = {
        "data set": evaluation.dataset,
        "scans": len(cases),
        "groups": f"{len(groups)}, the largest of {max(groups.values())} scans",
        "classes": evaluation.counts or "none",
        "true mask known": f"{cases.has_mask.sum()} scans; {cases.lesion.sum()} with a lesion, {cases.clear.sum()} without",
        "pixel size known": f"{(cases.spacing > 0).all(axis=1).sum()} scans",
        "seen in training": SEEN[evaluation.seen],
        "intervals": f"{evaluation.draws} draws, seed {evaluation.seed}",
    }
    yield tables.fact_table(facts, "The scans")
    yield tables.fact_table({"name": evaluation.model, **evaluation.about}, "The model")
    if training_curves is not None:
        says = "Losses and measures of each epoch of the run that made this model, on its training and validation scans."
        drawn = figures.drawn("training", training_curves, "Training curves", says, "Losses and measures over the epochs.")
        yield Pictures((drawn,))
    if evaluation.problems:
        yield Text("Left out, because they could not be read:")
        yield Points(evaluation.problems)


def _reading(evaluation: Evaluation) -> Iterator[str]:
    groups = Counter(evaluation.cases.groups)
    yield (
        "The interval (95 %) says how much a figure would change with other patients like these. It is made by drawing whole "
        "groups of scans (a patient, or copies of one scan) again and again. What comes from fewer than "
        f"{FEWEST_GROUPS} groups has none, and says so."
    )
    if max(groups.values()) > 1:
        yield "A group of several scans counts several times in a mean: every scan counts once."
    else:
        yield (
            "Each scan stands alone here: no groups are known. If several scans are of one patient, the true intervals are wider "
            "than these; bcdseg.split finds copies, and a data set can name its patients."
        )
    yield (
        "Exact copies of training scans and shared groups are looked for. Near copies are not: divide the data with bcdseg.split "
        "before training, which keeps them on one side."
    )
    yield (
        "The figures hold for scans like these: the same hospital, scanners and way of choosing patients. Elsewhere expect worse, "
        "and measure again. How common each class is here moves accuracy, precision and calibration."
    )
    yield "Thresholds named “at the best threshold on these scans” are chosen on the scans themselves and so are a little too good."
    yield "The true masks and classes are people's, with their own disagreements; no figure here can be better than they are."
    yield DISCLAIMER
