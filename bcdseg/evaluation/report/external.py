"""Report of an external validation: one table and one forest plot for all data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bcdseg.evaluation.measures.measure import NONE, number, p_value, with_unit
from bcdseg.evaluation.plots.charts import ForestPanel, forest_figure
from bcdseg.evaluation.report.blocks import Block, Cell, Document, Picture, Pictures, Section, Table, Text
from bcdseg.evaluation.report.figures import MOST_PANELS, drawn
from bcdseg.evaluation.report.tables import value_cell
from bcdseg.evaluation.training_overlap import OVERLAP
from bcdseg.messages import counted, percent
from bcdseg.model.saving import DISCLAIMER

if TYPE_CHECKING:
    from bcdseg.evaluation.external_validation import ExternalValidation
    from bcdseg.evaluation.measures.measure import Measure


def external_document(found: ExternalValidation) -> Document:
    """Return the report of an external validation."""
    scans = sum(len(one.cases) for one in found.evaluations.values())
    return Document(
        title=f"External validation of {found.model}",
        subtitle=f"{counted(scans, 'scan')} of {counted(len(found.evaluations), 'data set')}: "
        f"{', '.join(found.evaluations)}. {DISCLAIMER}",
        warnings=tuple(
            Text(f"{name}: {OVERLAP[one.training_overlap]}", "warning")
            for name, one in found.evaluations.items()
            if one.training_overlap != "none"
        ),
        sections=(
            Section("Performance by data set", tuple(_performance(found))),
            Section("Heterogeneity", tuple(_heterogeneity(found))),
            Section("Data sets", (_data_table(found),)),
        ),
    )


def pooled_text(found: ExternalValidation, measure: Measure) -> tuple[str, str]:
    """Return the pooled value with its interval, and I², as text; data sets that are not pooled are named."""
    pooled, left_out = found.heterogeneity.get(measure.name), found.not_pooled(measure.name)
    if pooled is None:
        return NONE, NONE
    ends = f"({number(pooled.low, measure.unit)} to {number(pooled.high, measure.unit)})"
    sets = len(found.evaluations)
    some = f"; {sets - len(left_out)} of {sets} pooled, without {', '.join(left_out)}" if left_out else ""
    return f"{with_unit(pooled.value, measure.unit)} {ends}{some}", percent(pooled.i2)


def _performance(found: ExternalValidation) -> Iterator[Block]:
    yield Text("Values with 95 % intervals of a bootstrap over groups. The report of each data set has all measures.")
    rows = [
        (Cell(measure.title, measure.definition), *(value_cell(one, measure.unit) for one in found.estimates(measure.name)))
        for measure in found.measures
    ]
    yield Table(("measure", *found.evaluations), tuple(rows))
    yield Pictures(tuple(_forests(found)))


def _forests(found: ExternalValidation) -> Iterator[Picture]:
    names = [f"{name} (n = {len(one.cases)})" for name, one in found.evaluations.items()]
    for start in range(0, len(found.measures), MOST_PANELS):
        some = found.measures[start : start + MOST_PANELS]
        pooled = [found.heterogeneity.get(one.name) for one in some]
        diamond = " The diamond is the pooled value with its interval." * any(pooled)
        panels = [
            ForestPanel(
                title=one.title,
                estimates=found.estimates(one.name),
                pooled=None if over is None else (over.low, over.value, over.high),
                fraction=one.unit == "fraction",
            )
            for one, over in zip(some, pooled, strict=True)
        ]
        yield drawn(
            f"external-{start // MOST_PANELS + 1}",
            forest_figure(names, panels),
            "Forest plot by data set",
            f"Squares are values and lines their 95 % intervals; an open square has no interval.{diamond}",
            f"Values of {', '.join(one.title for one in some)} for each data set.",
            wide=True,
        )


def _heterogeneity(found: ExternalValidation) -> Iterator[Block]:
    yield Text(
        "Random-effects meta-analysis (DerSimonian and Laird) over the data sets. I² is the fraction of the variance that is "
        "between the data sets: near 0 % they agree, above 75 % they differ so much that the pooled value describes none of them. "
        "The prediction interval is where the value of one more data set is expected; with few data sets it is wide."
    )
    rows = []
    for measure in found.measures:
        over = found.heterogeneity.get(measure.name)
        if over is None:
            rows.append((Cell(measure.title, "fewer than two data sets have an interval"), *(Cell(NONE) for _ in range(4))))
            continue
        ahead = NONE
        if over.next_low is not None and over.next_high is not None:
            ahead = f"{number(over.next_low, measure.unit)} to {number(over.next_high, measure.unit)}"
        value, i2 = pooled_text(found, measure)
        rows.append((Cell(measure.title), Cell(value), Cell(ahead), Cell(i2), Cell(f"{over.q:.1f}", p_value(over.p))))
    yield Table(("measure", "pooled (95 % interval)", "95 % prediction interval", "I²", "Cochran's Q"), tuple(rows))


def _data_table(found: ExternalValidation) -> Table:
    rows = [
        (
            Cell(name),
            Cell(str(len(one.cases)), counted(len(set(one.cases.groups)), "group")),
            Cell(", ".join(f"{count} {label}" for label, count in one.counts.items()) or NONE),
            Cell(str(int(one.cases.lesion.sum())), f"of {int(one.cases.has_mask.sum())} with a known mask")
            if one.cases.predicts_masks
            else Cell(NONE, "no masks are predicted"),
            Cell(OVERLAP[one.training_overlap]),
        )
        for name, one in found.evaluations.items()
    ]
    return Table(("data set", "scans", "classes", "scans with a lesion", "overlap with training"), tuple(rows))
