"""Tables of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bcdseg.evaluation.corruptions import CORRUPTIONS
from bcdseg.evaluation.measures.measure import NONE, UNITS, interval, number, p_value, signed, signed_with_unit, with_unit
from bcdseg.evaluation.measures.outlines import COLUMNS, SIZE_RANGES
from bcdseg.evaluation.report.blocks import Cell, Table, as_text
from bcdseg.messages import counted

if TYPE_CHECKING:
    from bcdseg.evaluation.measures.measure import Estimate, Measure
    from bcdseg.evaluation.measures.subgroups import SubgroupAnalysis
    from bcdseg.evaluation.model_comparison import Comparison
    from bcdseg.evaluation.results import Evaluation
    from bcdseg.evaluation.robustness import Robustness

OF_CLASS = ("class_recall", "class_precision", "class_specificity", "class_f1", "roc_auc", "pr_auc", "ece")
MOST_BELOW = 24  # letters below a value in a table with many columns
OF_SUBSET = (
    "dice",
    "dice/median",
    "iou",
    "precision",
    "recall",
    "boundary_f1",
    "surface_dice",
    "hd95_px",
    "assd_px",
    "hd95_mm",
    "assd_mm",
)


Form = Callable[[float, str], str]


def value_cell(estimate: Estimate | None, unit: str, form: Form = with_unit, form_of_ends: Form = number) -> Cell:
    """Return a cell with a value and its interval below it, or with a dash and the reason."""
    if estimate is None:
        return Cell(NONE)
    if estimate.value is None:
        return Cell(NONE, estimate.note)
    ends = interval(estimate, unit, form_of_ends).strip(" ()")
    return Cell(form(estimate.value, unit), ends or estimate.note or "no interval")


def difference_cell(estimate: Estimate, unit: str) -> Cell:
    """Return a cell with a difference and its interval below it, with signs, or with a dash and the reason."""
    return value_cell(estimate, unit, signed_with_unit, signed)


def measure_table(evaluation: Evaluation, measures: Sequence[Measure], title: str = "") -> Table:
    """Return a table of one measure per row: its definition, its value and its number of scans."""
    rows = []
    for one in measures:
        found = evaluation.estimates[one.name]
        mind = f" {found.note[:1].upper()}{found.note[1:]}." if found.note and found.low is not None else ""
        count = Cell(str(found.n), counted(found.groups, "group"))
        rows.append((Cell(one.title, one.definition + mind), value_cell(found, one.unit), count))
    return Table(("measure", "value, 95 % interval", "scans"), tuple(rows), title)


def subset_table(evaluation: Evaluation, names: Mapping[str, str], title: str) -> Table:
    """Return a table of the segmentation measures (columns) by class or size (rows)."""
    by_name = {one.name: one for one in evaluation.measures}
    shown = [name for name in OF_SUBSET if name in by_name]
    rows = []
    for subset, description in names.items():
        cells = [Cell(subset or "all", description)]
        for name in shown:
            first, _, end = name.partition("/")
            full = "/".join(part for part in (first, subset, end) if part)
            cells.append(value_cell(evaluation.estimates.get(full), by_name[name].unit))
        rows.append(tuple(cells))
    return Table(("scans with a lesion", *(by_name[name].title for name in shown)), tuple(rows), title)


def class_names(evaluation: Evaluation) -> dict[str, str]:
    """Return the classes that have segmentation measures, with their numbers of scans."""
    cases = evaluation.cases
    counts = {name: int((cases.lesion & (cases.labels == at)).sum()) for at, name in enumerate(cases.classes)}
    return {
        "": counted(int(cases.lesion.sum()), "scan"),
        **{name: counted(count, "scan") for name, count in counts.items() if count},
    }


def size_names(evaluation: Evaluation) -> dict[str, str]:
    """Return the descriptions of the lesion sizes, with their numbers of scans."""
    estimates = evaluation.estimates
    return {name: f"{fraction}; {counted(estimates[f'dice/{name}'].n, 'scan')}" for name, fraction in SIZE_RANGES.items()}


def spread_table(evaluation: Evaluation) -> Table:
    """Return a table of the distribution of each segmentation measure over all scans with a lesion."""
    unit = {name: one for name, _, one, *_ in COLUMNS}
    title = {name: f"{text} ({one})" if one in UNITS and one not in text else text for name, text, one, *_ in COLUMNS}
    rows = tuple(
        (
            Cell(title[one.measure]),
            *(
                Cell(NONE if value is None else number(value, unit[one.measure]))
                for value in (one.mean, one.sd, one.low, one.median, one.high)
            ),
        )
        for one in evaluation.spreads
        if not one.subset
    )
    return Table(("all lesion scans", "mean", "standard deviation", "first quartile", "median", "third quartile"), rows)


def class_table(evaluation: Evaluation) -> Table:
    """Return a table of the measures per class (columns) by class (rows)."""
    by_name = {one.name: one for one in evaluation.measures}
    classes = evaluation.cases.classes
    shown = [name for name in OF_CLASS if f"{name}/{classes[0]}" in by_name]
    heads = [by_name[f"{name}/{classes[0]}"].title.split(",")[0] for name in shown]
    rows = tuple(
        (
            Cell(name, counted(evaluation.counts[name], "scan")),
            *(value_cell(evaluation.estimates.get(f"{kind}/{name}"), by_name[f"{kind}/{name}"].unit) for kind in shown),
        )
        for name in classes
    )
    return Table(("class", *heads), rows)


def subgroup_table(found: SubgroupAnalysis, fact: str) -> Table:
    """Return a table of each measure (columns) by subgroup (rows)."""
    rows = [
        (
            Cell(one.name, f"{counted(one.n, 'scan')}, {counted(one.groups, 'group')}"),
            *(_without_note(value_cell(one.estimates[measure.name], measure.unit)) for measure in found.measures),
        )
        for one in found.of(fact)
    ]
    return Table((fact, *(measure.title for measure in found.measures)), tuple(rows))


def subgroup_difference_table(found: SubgroupAnalysis, fact: str) -> Table:
    """Return a table of each measure's difference from all other scans (columns) by subgroup (rows)."""
    rows = [
        (
            Cell(one.name),
            *(_without_note(difference_cell(one.differences[measure.name], measure.unit)) for measure in found.measures),
        )
        for one in found.of(fact)
    ]
    return Table((f"{fact}, difference from the others", *(measure.title for measure in found.measures)), tuple(rows))


def _without_note(cell: Cell) -> Cell:
    """Return a cell of a table with many columns, which has space for an interval but not for a reason."""
    return cell if " to " in cell.below and len(cell.below) < MOST_BELOW else Cell(cell.text, "no interval")


def robustness_table(found: Robustness) -> Table:
    """Return a table of each measure (columns) at each strength (rows)."""
    rows = [(Cell("original"), *(value_cell(found.untouched[one.name], one.unit) for one in found.measures))]
    for step in found.steps:
        cells = (value_cell(step.estimates[one.name], one.unit) for one in found.measures)
        rows.append((Cell(f"{step.degradation} {step.strength:g}", CORRUPTIONS[step.degradation].strength), *cells))
    return Table(("scans", *(one.title for one in found.measures)), tuple(rows))


def change_table(found: Robustness) -> Table:
    """Return a table of each measure's difference from the original scans (columns) at each strength (rows)."""
    rows = []
    for step in found.steps:
        cells = (difference_cell(step.changes[one.name], one.unit) for one in found.measures)
        rows.append((Cell(f"{step.degradation} {step.strength:g}"), *cells))
    return Table(("change", *(one.title for one in found.measures)), tuple(rows))


def comparison_table(found: Comparison, names: Sequence[str]) -> Table:
    """Return a table of each measure of both models, and the difference."""
    rows = []
    for name in names:
        one = found.differences[name]
        unit = one.measure.unit
        values = [Cell(NONE if value is None else with_unit(value, unit)) for value in (one.first, one.second)]
        sentence = found.sentence(name).removeprefix(f"{one.measure.title}: ")
        sentence = f"N{sentence[1:]}" if sentence.startswith("no ") else sentence  # others start with the name of a model
        rows.append((Cell(one.measure.title, sentence), *values, difference_cell(one.difference, unit)))
    return Table(("measure", found.first, found.second, "difference"), tuple(rows))


def auc_test_table(found: Comparison) -> Table:
    """Return a table of DeLong's test for each class."""
    rows = tuple(
        (
            Cell(f"ROC-AUC, {name} against rest"),
            Cell(number(test.result.first, "fraction")),
            Cell(number(test.result.second, "fraction")),
            Cell(
                signed(test.result.difference, "fraction"),
                f"{signed(test.result.low, 'fraction')} to {signed(test.result.high, 'fraction')}",
            ),
            Cell(p_value(test.result.p), f"{p_value(test.p_holm)} after Holm"),
        )
        for name, test in found.auc_tests.items()
    )
    return Table(("DeLong's test", found.first, found.second, "difference", "p"), rows)


def fact_table(facts: Mapping[str, Any], title: str = "") -> Table:
    """Return a table of names and values of any JSON type."""
    rows = tuple((Cell(str(name)), Cell(as_text(content))) for name, content in facts.items())
    return Table(("", ""), rows, title)
